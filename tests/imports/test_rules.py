"""Columns and rows of imports."""

from datetime import date
from typing import Any

import pytest

from crm.core.csv_files import safe_cell
from crm.imports import rules
from crm.imports.rules import Row

TODAY = date(2026, 3, 3)
MAPPING = {"0": "first_name", "1": "last_name", "2": "email", "3": "phone", "4": "birth_date"}


def read(*cells):
    return rules.read_row(cells, line=2, mapping=MAPPING, zone="America/Los_Angeles", today=TODAY)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"0": "first_name", "1": "last_name"}, "email address or the phone"),
        ({"0": "email"}, "first and the last name"),
        ({"0": "email", "1": "email"}, "Two columns"),
        ({"9": "email"}, "from the list"),
        ({"0": "consent"}, "from the list"),
    ],
)
def test_wrong_mappings(mapping, words):
    assert words in " ".join(rules.check_mapping(["a", "b", "c"], mapping))


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (("", "", "a@b.example"), "first name or a last name"),
        (("-", "N/A", "a@b.example"), "first name or a last name"),
        (("x" * 300, "", "a@b.example"), "at most 60"),
        (("Ana 🙂", "N/A", "a@b.example"), "hold “🙂”"),
        (("=1+1", "", "a@b.example"), "hold “=”"),
        (("", "A\0na", "a@b.example"), "Last name: We cannot show the character at position 2 (U+0000)"),
        (("Ana", "Ruiz", "nowhere"), "Email:"),
        (("Ana", "Ruiz", "", "12"), "Phone:"),
        (("Ana", "Ruiz", "none@none.com"), "reaches nobody"),
        (("Ana", "Ruiz"), "email address or a phone"),
    ],
)
def test_refused_rows_say_why(cells, words):
    assert words in " ".join(read(*cells))


@pytest.mark.parametrize("problem", ["open_quote", "extra_cells"])
def test_rows_the_reader_does_not_trust_are_refused(problem):
    cells = ["Ana", "Ruiz", "a@b.example"]
    refused: Any = rules.read_row(cells, line=2, mapping=MAPPING, zone="UTC", today=TODAY, problem=problem)
    assert "quotation mark" in " ".join(refused)


MANY = MAPPING | {"5": "state", "6": "language", "7": "message"}
FIELD_NUMBER = {name: int(number) for number, name in MANY.items()}


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("state", "California", "CA"),
        ("state", "N/A", None),
        ("phone", "213-555-0142 x12", "+12135550142;ext=12"),
        ("phone", "(213) 555-0142 (cell)", "+12135550142"),
        ("phone", "2135550142.0", "+12135550142"),
        ("language", "es-MX", "es"),
        ("birth_date", "5/17/70", date(1970, 5, 17)),
        ("birth_date", "1970-05-17 00:00:00", date(1970, 5, 17)),
        ("birth_date", "N/A", None),
        ("last_name", "", ""),
        ("first_name", "-", ""),
        ("last_name", " #N/A ", ""),
    ],
)
def test_cells_as_people_write_them(field, text, value):
    cells = ["Ana", "Ruiz", "a@b.example", "", "", "", "", ""]
    cells[FIELD_NUMBER[field]] = text
    row = rules.read_row(cells, line=2, mapping=MANY, zone="UTC", today=TODAY)
    assert isinstance(row, Row)
    assert getattr(row.person, field) == value
    assert not row.left_out


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("first_name", "Ana 🙂"),
        ("last_name", "Ruiz/Lopez"),
        ("state", "Califrnia"),
        ("phone", "12"),
        ("language", "xx"),
        ("birth_date", "31/31/1990"),
        ("message", "x" * 10_001),
    ],
)
def test_optional_cells_are_left_out_and_said(field, text):
    cells = ["Ana", "Ruiz", "a@b.example", "", "", "", "", ""]
    cells[FIELD_NUMBER[field]] = text
    row = rules.read_row(cells, line=2, mapping=MANY, zone="UTC", today=TODAY)
    assert isinstance(row, Row)
    assert (row.person.email, row.message) == ("a@b.example", None)
    [unread] = row.left_out
    assert (unread.field, unread.text) == (field, text)
    assert len(unread.listed) < 2100


def test_filler_address_is_no_address():
    row = read("Ana", "Ruiz", "none@none.com", "213 555 0142")
    assert isinstance(row, Row)
    assert (row.person.email, row.person.phone) == (None, "+12135550142")
    assert row.left_out[0].problem.code == "email_filler"


def test_a_good_row():
    row = read("Ana", "Ruiz", "ANA@b.example", "(213) 555-0142", "4/30/1990")
    assert isinstance(row, Row)
    assert (row.person.email, row.person.phone) == ("ana@b.example", "+12135550142")
    assert row.person.birth_date == date(1990, 4, 30)


def test_an_exported_cell_can_be_imported_again():
    row = read("Ana", "O'Hara", "a@b.example", safe_cell("+12135550142"))
    assert (row.person.phone, row.person.last_name) == ("+12135550142", "O'Hara")
    assert isinstance(read("'=cmd()", "", "a@b.example"), list)
