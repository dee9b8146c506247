"""Columns and rows of imports."""

from datetime import date

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
        (("", "Ruiz", "a@b.example"), "First name: This is required."),
        (("x" * 300, "Ruiz", "a@b.example"), "at most 60"),
        (("A\u202ena", "Ruiz", "a@b.example"), "letters"),
        (("Ana 🙂", "Ruiz", "a@b.example"), "letters"),
        (("=1+1", "Ruiz", "a@b.example"), "letters"),
        (("A\0na", "Ruiz", "a@b.example"), "letters"),
        (("Ana", "Ruiz", "nowhere"), "Email:"),
        (("Ana", "Ruiz", "", "12"), "Phone:"),
        (("Ana", "Ruiz", "a@b.example", "", "31/31/1990"), "birth"),
        (("Ana", "Ruiz"), "email address or a phone"),
    ],
)
def test_refused_rows_say_why(cells, words):
    assert words in " ".join(read(*cells))


def test_a_good_row():
    row = read("Ana", "Ruiz", "ANA@b.example", "(213) 555-0142", "4/30/1990")
    assert isinstance(row, Row)
    assert (row.person.email, row.person.phone) == ("ana@b.example", "+12135550142")
    assert row.person.birth_date == date(1990, 4, 30)


def test_an_exported_cell_can_be_imported_again():
    row = read("Ana", "O'Hara", "a@b.example", safe_cell("+12135550142"))
    assert (row.person.phone, row.person.last_name) == ("+12135550142", "O'Hara")
    assert isinstance(read("'=cmd()", "Ruiz", "a@b.example"), list)
