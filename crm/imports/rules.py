"""The columns and rows of a file of people. Pure: a row that cannot be imported gives a list of sentences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from crm.contacts.rules import (
    LANGUAGES,
    InvalidValue,
    Person,
    clean_birth_date,
    clean_email,
    clean_name,
    clean_phone,
    clean_state,
    clean_text,
    zone_for,
)
from crm.core.csv_files import plain_cell
from crm.core.text import fold

MOST_BYTES = 50 * 1024 * 1024
UNDO_WITHIN = timedelta(hours=24)
KEPT = timedelta(days=7)  # uploaded files and refused rows
STALLED = timedelta(minutes=2)
CONTACTS, LEADS = "contacts", "leads"
MESSAGE_LIMIT = 1000  # characters

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
    "first_name": "first given forename firstname nombre",
    "last_name": "last surname family lastname apellido apellidos",
    "email": "mail emailaddress correo",
    "phone": "telephone mobile cell phonenumber telefono",
    "birth_date": "dob birthday dateofbirth birthdate",
    "language": "lang idioma",
    "state": "st estado",
    "message": "notes note comment comments mensaje",
}
"""Other names of columns, for guessing, as `csv_files.guess_columns` wants them."""


def check_mapping(header: Sequence[str], mapping: Mapping[str, str]) -> list[str]:
    """Return a sentence for each problem with a mapping of columns."""
    chosen, wrong = list(mapping.values()), []
    places = set(map(str, range(len(header))))
    if not set(mapping) <= places or not set(chosen) <= set(FIELDS):
        wrong.append("Choose what each column is from the list.")
    wrong += [f"Two columns are chosen as {FIELDS[one]}." for one in FIELDS if chosen.count(one) > 1]
    if not {"first_name", "last_name"} <= set(chosen):
        wrong.append("Choose the columns with the first and the last name.")
    if not {"email", "phone"} & set(chosen):
        wrong.append("Choose a column with the email address or the phone number.")
    return wrong


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a file: a person and their message."""

    line: int
    person: Person
    message: str | None


def _language(text: str) -> str:
    known = {"english": "en", "ingles": "en", "spanish": "es", "espanol": "es"}
    code = known.get(fold(text), text.strip().lower())
    if code not in LANGUAGES:
        raise InvalidValue("language")
    return code


def _birth_date(text: str, today: date) -> date:
    for pattern in ("%Y-%m-%d", "%m/%d/%Y"):
        try:
            day = datetime.strptime(text.strip(), pattern).date()  # noqa: DTZ007 - a day, not a moment
        except ValueError:
            continue
        return clean_birth_date(day, today=today)
    raise InvalidValue("birth_date")


_NEEDED = ("first_name", "last_name")
_CLEANERS: Mapping[
    str, Callable[[str], Any]
] = {  # the birth date is read beside them, as it needs today's date
    "first_name": clean_name,
    "last_name": clean_name,
    "email": clean_email,
    "phone": clean_phone,
    "language": _language,
    "state": clean_state,
    "message": lambda text: clean_text(text, limit=MESSAGE_LIMIT),
}


def read_row(
    cells: Sequence[str], *, line: int, mapping: Mapping[str, str], zone: str, today: date
) -> Row | list[str]:
    """Return a row of the file, or a sentence for each field that cannot be read."""
    given = {field: text for field, text in _mapped(cells, mapping) if text.strip() or field in _NEEDED}
    clean, wrong = _clean(given, today=today)
    if not wrong and not (clean.get("email") or clean.get("phone")):
        wrong.append("Give an email address or a phone number.")
    if wrong:
        return wrong
    message = clean.pop("message", None)
    known = {name: value for name, value in clean.items() if value is not None}
    zone = zone_for(given=None, state=known.get("state"), clinic=zone)
    return Row(line=line, person=Person(**known, time_zone=zone), message=message)


def _mapped(cells: Sequence[str], mapping: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for number, field in mapping.items():
        yield field, plain_cell(cells[int(number)]) if int(number) < len(cells) else ""


def _clean(given: Mapping[str, str], *, today: date) -> tuple[dict[str, Any], list[str]]:
    """Return the clean values, and a sentence for each field that cannot be read."""
    cleaners: Mapping[str, Callable[[str], Any]] = {
        **_CLEANERS,
        "birth_date": lambda text: _birth_date(text, today),
    }
    clean: dict[str, Any] = {}
    wrong = []
    for field, text in given.items():
        try:
            clean[field] = cleaners[field](text)
        except InvalidValue as error:
            wrong.append(f"{FIELDS[field]}: {error}")
    return clean, wrong
