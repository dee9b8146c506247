"""What a file of people may look like: its letters, its columns, its rows; and cells that no spreadsheet runs.

Pure. What cannot be taken is an `Unreadable` (the file) or a list of words (one row).
"""

import csv
import io
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
    folded,
    zone_for,
)

MOST_BYTES = 50 * 1024 * 1024
MOST_COLUMNS = 200
HEADER_LIMIT = 100  # characters of a column's name that are kept
UNDO_WITHIN = timedelta(hours=24)
KEPT = timedelta(days=7)  # files and rows that were refused
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
"""What a column may be read as. There is none for consent: only the person's own yes is one."""

_ALSO = {
    "first_name": "first given forename firstname nombre",
    "last_name": "last surname family lastname apellido apellidos",
    "email": "mail emailaddress correo",
    "phone": "telephone mobile cell phonenumber telefono",
    "birth_date": "dob birthday dateofbirth birthdate",
    "language": "lang idioma",
    "state": "st estado",
    "message": "notes note comment comments mensaje",
}


class Unreadable(ValueError):
    """A file that cannot be taken. The text of the error says what is wrong and what to do."""


def encoding_of(start: bytes) -> str | None:
    """Return the encoding that a file's first bytes give away; None where UTF-8 or Latin-1 must be told apart."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if start.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    sample = start[:4096]
    if len(sample) > 3 and b"\0" in sample:  # plain letters in UTF-16 have a zero as every other byte
        if sample[1::2].count(0) > len(sample) * 0.4 and not sample[0::2].count(0):
            return "utf-16-le"
        if sample[0::2].count(0) > len(sample) * 0.4 and not sample[1::2].count(0):
            return "utf-16-be"
    return None


def delimiter_of(line: str) -> str:
    """Return the delimiter (, ; tab |) by which a header has most columns; the comma where it has one."""
    return max(",;\t|", key=lambda one: (len(next(csv.reader([line], delimiter=one), [])), one == ","))


def header_of(text: str) -> tuple[str, list[str]]:
    """Return the delimiter and the columns' names from the first characters of a file. Raises Unreadable."""
    if not text.strip():
        raise Unreadable("The file is empty.")
    try:
        line = text.lstrip("\r\n").splitlines()[0]
        delimiter = delimiter_of(line)
        names = next(csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise Unreadable("The first line is not a line of column names.") from error
    if len(names) > MOST_COLUMNS:
        raise Unreadable(f"The file has {len(names):,} columns; at most {MOST_COLUMNS} can be read.")
    return delimiter, [shown(name) for name in names]


def shown(text: str, *, limit: int = HEADER_LIMIT) -> str:
    """Return what a cell holds as one short line of letters that can be shown."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())[:limit]


def guess(header: Sequence[str], remembered: Mapping[str, str]) -> dict[str, str]:
    """Return column number (as text) -> field: as remembered by the column's name, else as the name suggests."""
    found: dict[str, str] = {}
    for number, name in enumerate(header):
        field = remembered[folded(name)] if folded(name) in remembered else _by_name(name)
        if field in FIELDS and field not in found.values():
            found[str(number)] = field
    return found


def _by_name(name: str) -> str:
    plain = folded(name).replace(" ", "")
    for field, also in _ALSO.items():
        if plain == field.replace("_", "") or plain in also.split():
            return field
    return ""


def check_mapping(header: Sequence[str], mapping: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a mapping, in words."""
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
    """One line of a file, read: a person and what they wrote."""

    line: int
    person: Person
    message: str | None


def _language(text: str) -> str:
    known = {"english": "en", "ingles": "en", "spanish": "es", "espanol": "es"}
    code = known.get(folded(text), text.strip().lower())
    if code not in LANGUAGES:
        raise InvalidValue("language")
    return code


def _born(text: str, today: date) -> date:
    for form in ("%Y-%m-%d", "%m/%d/%Y"):
        try:
            return clean_birth_date(datetime.strptime(text.strip(), form).date(), today=today)  # noqa: DTZ007
        except InvalidValue:
            raise
        except ValueError:
            continue
    raise InvalidValue("birth_date")


def read(
    cells: Sequence[str], *, line: int, mapping: Mapping[str, str], zone: str, today: date
) -> Row | list[str]:
    """Return what one line says, or what is wrong with it, in words, field by field."""
    rules: Mapping[str, Callable[[str], Any]] = {
        "first_name": clean_name, "last_name": clean_name, "email": clean_email, "phone": clean_phone,
        "birth_date": lambda text: _born(text, today), "language": _language, "state": clean_state,
        "message": lambda text: clean_text(text, limit=MESSAGE_LIMIT),
    }  # fmt: skip
    wrong: list[str] = []
    found: dict[str, Any] = dict.fromkeys(FIELDS)
    for number, field in mapping.items():
        text = plain_cell(cells[int(number)]) if int(number) < len(cells) else ""
        if not text.strip() and field not in ("first_name", "last_name"):
            continue
        try:
            found[field] = rules[field](text)
        except InvalidValue as error:
            wrong.append(f"{FIELDS[field]}: {error}")
    if not wrong and not (found["email"] or found["phone"]):
        wrong.append("Give an email address or a phone number.")
    if wrong:
        return wrong
    given = {name: value for name, value in found.items() if name != "message" and value is not None}
    person = Person(**given, time_zone=zone_for(given=None, state=found["state"], clinic=zone))
    return Row(line=line, person=person, message=found["message"])


_RUNS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


def safe_cell(text: str) -> str:
    """Return text that a spreadsheet shows and never runs (OWASP, "CSV Injection"): an apostrophe goes before it."""
    plain = text.replace("\0", "")
    return f"'{plain}" if text.startswith(_RUNS) or plain.lstrip(" ").startswith(_RUNS) else plain


def plain_cell(text: str) -> str:
    """Return a cell without the apostrophe that `safe_cell` put before it: files that went out come in again."""
    return text[1:] if text.startswith("'") and safe_cell(text[1:]) == text else text


def csv_lines(rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """Return rows as lines of CSV (RFC 4180), every cell safe."""
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow([safe_cell(cell) for cell in row])
        yield line.getvalue()
