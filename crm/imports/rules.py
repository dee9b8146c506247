"""The columns and rows of a file of people. Pure: a row that cannot be imported gives a list of sentences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from crm.contacts import column_names
from crm.contacts.rules import (
    InvalidValue,
    Person,
    clean_email,
    clean_language,
    clean_name,
    clean_phone,
    clean_state,
    clean_text,
    means_nothing,
    read_birth_date,
    zone_for,
)
from crm.core.csv_files import plain_cell
from crm.intake.values import Unread

MOST_BYTES = 50 * 1024 * 1024
UNDO_WITHIN = timedelta(hours=24)
KEPT = timedelta(days=7)  # uploaded files and refused rows
STALLED = timedelta(minutes=2)
CONTACTS, LEADS = "contacts", "leads"
MESSAGE_LIMIT = 10_000  # characters: staff bring in whole notes

FIELDS: Mapping[str, str] = {
    "first_name": "First name",
    "last_name": "Last name",
    "email": "Email",
    "phone": "Phone",
    "birth_date": "Date of birth",
    "language": "Language",
    "state": "State",
    "message": "Message",
}
"""Fields that a column may hold. There is none for consent: only the person can give it."""

OTHER_NAMES: Mapping[str, str] = {
    name: column_names.OF_A_PERSON.get(name, "notes note comment comments mensaje nota notas comentarios")
    for name in FIELDS
}
"""Other names of columns, for guessing, as `csv_files.guess_columns` wants them."""


def check_mapping(header: Sequence[str], mapping: Mapping[str, str]) -> list[str]:
    """Return a sentence for each problem with a mapping of columns."""
    chosen, wrong = list(mapping.values()), []
    places = set(map(str, range(len(header))))
    if not set(mapping) <= places or not set(chosen) <= set(FIELDS):
        wrong.append("Choose what each column is from the list.")
    wrong += [f"Two columns are chosen as {FIELDS[one]}." for one in FIELDS if chosen.count(one) > 1]
    if not set(_NAMES) & set(chosen):
        wrong.append("Choose the columns with the first and the last name; one of them is enough.")
    if not {"email", "phone"} & set(chosen):
        wrong.append("Choose a column with the email address or the phone number.")
    return wrong


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a file: a person and their message.

    `left_out` has the cells that could not be read.
    """

    line: int
    person: Person
    message: str | None
    left_out: Sequence[Unread] = ()


_NAMES = ("first_name", "last_name")
_CLEANERS: Mapping[str, Callable[[str], Any]] = {  # the birth date needs today's date beside
    "first_name": clean_name,
    "last_name": clean_name,
    "email": clean_email,
    "phone": clean_phone,
    "language": clean_language,
    "state": clean_state,
    "message": lambda text: clean_text(text, limit=MESSAGE_LIMIT),
}


def read_row(
    cells: Sequence[str], *, line: int, mapping: Mapping[str, str], zone: str, today: date, problem: str = ""
) -> Row | list[str]:
    """Return a row of the file, or a sentence for each reason why it cannot be imported.

    One name and one way to reach the person are needed; any other cell that cannot be read is left out. `problem` is the
    code that the reader of the file gave the row.
    """
    if problem:
        return [str(InvalidValue(problem))]
    given = {field: text for field, text in _mapped(cells, mapping) if not means_nothing(text)}
    clean, wrong = _clean(given, today=today)
    if refused := _refused(clean, wrong):
        return refused
    left_out = [
        Unread(field=field, text=given[field], problem=error.problem) for field, error in wrong.items()
    ]
    message = clean.pop("message", None)
    person = Person(
        **(dict.fromkeys(_NAMES, "") | clean),
        time_zone=zone_for(given=None, state=clean.get("state"), clinic=zone),
    )
    return Row(line=line, person=person, message=message, left_out=left_out)


def _refused(clean: Mapping[str, Any], wrong: Mapping[str, InvalidValue]) -> list[str]:
    """Return a sentence for each reason why a row cannot be imported: no name, or no way to reach the person."""
    refused: list[str] = []
    if not set(_NAMES) & set(clean):
        refused = [_sentence(field, wrong[field]) for field in _NAMES if field in wrong]
        refused = refused or ["Give a first name or a last name."]
    if not (clean.get("email") or clean.get("phone")):
        refused += [_sentence(field, wrong[field]) for field in ("email", "phone") if field in wrong]
        refused.append("Give an email address or a phone number.")
    return refused


def _sentence(field: str, error: InvalidValue) -> str:
    return f"{FIELDS[field]}: {error}"


def _mapped(cells: Sequence[str], mapping: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for number, field in mapping.items():
        yield field, plain_cell(cells[int(number)]) if int(number) < len(cells) else ""


def _clean(given: Mapping[str, str], *, today: date) -> tuple[dict[str, Any], dict[str, InvalidValue]]:
    """Return the clean values, and what is wrong with the others."""
    cleaners: Mapping[str, Callable[[str], Any]] = {
        **_CLEANERS,
        "birth_date": lambda text: read_birth_date(text, today=today),
    }
    clean: dict[str, Any] = {}
    wrong = {}
    for field, text in given.items():
        try:
            clean[field] = cleaners[field](text)
        except InvalidValue as error:
            wrong[field] = error
    return clean, wrong
