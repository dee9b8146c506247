"""CSV files: encodings, delimiters, headers, rows, columns, and cells that no spreadsheet runs."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.core import csv_files
from crm.core.csv_files import BadFile

MOST = {"most_bytes": 1_000_000, "most_rows": 500}
NAMES = {"first_name": "nombre", "last_name": "", "email": "mail", "phone": "", "birth_date": "dob"}


def table(content):
    return csv_files.read_table(content, **MOST)


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
def test_encoding_of_the_first_bytes(start, encoding):
    assert csv_files.encoding_of(start) == encoding


@pytest.mark.parametrize(
    ("line", "delimiter"),
    [("a,b,c", ","), ("a;b;c", ";"), ("a\tb", "\t"), ("a|b", "|"), ('"a;b",c', ","), ("alone", ",")],
)
def test_delimiters(line, delimiter):
    assert csv_files.delimiter_of(line) == delimiter


ENCODINGS = ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(encoding, end):
    text = "\n \nNombre;Apellido\nJosé;Muñoz\n\n ; \nAna;Peña\n".replace("\n", end)
    found = table(text.encode(encoding))
    assert found.header == ["Nombre", "Apellido"]
    assert found.rows == {4: ["José", "Muñoz"], 7: ["Ana", "Peña"]}


def test_windows_signs_are_read():
    content = "Name,Note\nAna,“pain” – it’s €5\n".encode("cp1252") + b"Bo,\x81\n"
    assert [cells[1] for cells in table(content).rows.values()] == ["“pain” – it’s €5", "\ufffd"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [4096, 4097, 100_000])
def test_reading_in_pieces_gives_the_same(encoding, size):
    content = ("Nombre,Apellido\n" + "José,Muñoz\n" * 2_000).encode(encoding)
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    found = csv_files.detect(pieces, most_bytes=100_000)
    assert found == csv_files.detect([content], most_bytes=100_000)
    assert (found.header, found.size, found.lines) == (["Nombre", "Apellido"], len(content), 2_001)
    rows = csv_files.read_rows(io.BytesIO(content), encoding=found.encoding, delimiter=found.delimiter)
    assert dict(rows) == {n: ["José", "Muñoz"] for n in range(2, 2_002)}


def test_a_late_letter_decides_the_encoding():
    pieces = [b"a,b\n" * 2000, b"x,\xe9\n", b"y,z\n"]
    assert csv_files.detect(pieces, most_bytes=10_000).encoding == "cp1252"
    with pytest.raises(BadFile, match="not_text"):
        csv_files.detect([*pieces, b"\0"], most_bytes=10_000)


@pytest.mark.parametrize(
    ("content", "code", "count"),
    [
        (b"", "empty", 0),
        (b" \n\n", "empty", 0),
        (b"\xef\xbb\xbf", "empty", 0),
        (b"x" * 1_000_001, "big", 0),
        (b"PK\x03\x04rest", "archive", 0),
        (b"a,b\n1,\0", "not_text", 0),
        (b"\xff\xfe" + "Name".encode("utf-16-le") + b"\x00", "not_text", 0),
        (",".join("x" * 10_000).encode() + b"\n1\n", "columns", 10_000),
        (b'"' + b"x" * 200_000, "cells", 0),
        (b'a,b\n"' + b"x" * 200_000, "cells", 0),
        (b"a,b\n,\n\n", "no_rows", 0),
        (b"a\n" + b"1\n" * 501, "rows", 501),
    ],
)
def test_files_that_cannot_be_read(content, code, count):
    with pytest.raises(BadFile) as refused:
        table(content)
    assert (refused.value.code, refused.value.count) == (code, count)


def test_columns_are_guessed_by_name():
    names = ["Nombre", "Last Name", "E-mail", "What else", "DOB", "Consent", "email", ""]
    found = csv_files.guess_columns(names, {"what else": "phone"}, names=NAMES)
    assert found == {"0": "first_name", "1": "last_name", "2": "email", "3": "phone", "4": "birth_date"}


def test_chosen_columns_are_remembered():
    kept = csv_files.remember_columns(["Given", "Other"], {"0": "first_name"}, remembered={"old": "email"})
    assert kept == {"old": "email", "given": "first_name", "other": ""}
    many = {f"c{n}": "" for n in range(600)}
    assert len(csv_files.remember_columns(["Given"], {"0": "email"}, remembered=many)) == 500


def test_samples_show_each_value_once():
    rows = [["Ana", "x"], ["Ana", "y"], ["Bo"]]
    assert csv_files.samples(["Name", "Note", "Empty"], rows) == ["Ana · Bo", "x · y", ""]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0=", " =", "＝"])
def test_no_cell_is_run(start):
    assert csv_files.safe_cell(f"{start}cmd()").startswith("'")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_every_cell_of_a_line_is_harmless(cells):
    (line,) = csv_files.csv_lines([cells])
    for cell in next(csv.reader(io.StringIO(line, newline="")), []):
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\0"))
