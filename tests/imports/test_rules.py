"""Letters, columns, rows and cells."""

import csv
import io
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.imports import rules
from crm.imports.rules import Row, Unreadable

TODAY = date(2026, 3, 3)
MAPPING = {"0": "first_name", "1": "last_name", "2": "email", "3": "phone", "4": "birth_date"}


def read(*cells):
    return rules.read(cells, line=2, mapping=MAPPING, zone="America/Los_Angeles", today=TODAY)


@pytest.mark.parametrize(
    ("start", "encoding"),
    [
        ("name".encode("utf-16"), "utf-16"),
        ("name,mail".encode("utf-16-le"), "utf-16-le"),
        ("name,mail".encode("utf-16-be"), "utf-16-be"),
        ("name".encode("utf-8-sig"), "utf-8-sig"),
        ("José".encode("latin-1"), None),
        (b"", None),
    ],
)
def test_encodings(start, encoding):
    assert rules.encoding_of(start) == encoding


@pytest.mark.parametrize(
    ("line", "delimiter"),
    [("a,b,c", ","), ("a;b;c", ";"), ("a\tb", "\t"), ("a|b", "|"), ('"a;b",c', ","), ("alone", ",")],
)
def test_delimiters(line, delimiter):
    assert rules.delimiter_of(line) == delimiter


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        (",".join("x" * 10_000), "10,000 columns"),
        ('"' + "x" * 200_000, "first line"),
    ],
    ids=["empty", "blank", "columns", "quote"],
)
def test_headers_that_are_none(text, words):
    with pytest.raises(Unreadable, match=words):
        rules.header_of(text)


def test_columns_are_guessed_by_name_and_remembered():
    names = ["Nombre", "Last Name", "E-mail", "What else", "DOB", "Consent", "email"]
    found = rules.guess(names, {"what else": "phone"})
    assert found == {"0": "first_name", "1": "last_name", "2": "email", "3": "phone", "4": "birth_date"}


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
def test_mappings_that_do_not_do(mapping, words):
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
def test_rows_that_are_refused_say_why(cells, words):
    assert words in " ".join(read(*cells))


def test_a_row_that_is_fine():
    row = read("Ana", "Ruiz", "ANA@b.example", "(213) 555-0142", "4/30/1990")
    assert isinstance(row, Row)
    assert (row.person.email, row.person.phone) == ("ana@b.example", "+12135550142")
    assert row.person.birth_date == date(1990, 4, 30)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0=", " =", "＝"])
def test_no_cell_is_run(start):
    assert rules.safe_cell(f"{start}cmd()").startswith("'")


def test_a_cell_that_went_out_comes_in_again():
    row = read("Ana", "O'Hara", "a@b.example", rules.safe_cell("+12135550142"))
    assert (row.person.phone, row.person.last_name) == ("+12135550142", "O'Hara")
    assert isinstance(read("'=cmd()", "Ruiz", "a@b.example"), list)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_every_cell_of_a_line_is_harmless(cells):
    (line,) = rules.csv_lines(iter([cells]))
    for cell in next(csv.reader(io.StringIO(line, newline="")), []):
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\0"))
