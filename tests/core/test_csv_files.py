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
    assert csv_files.delimiter_of([line]) == delimiter


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
    assert list(rows) == [(n, ["José", "Muñoz"], "") for n in range(2, 2_002)]


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


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('a,b,c\nAna,"Ruiz,x\nBo,Li,y\n', {2: ["Ana", '"Ruiz', "x"], 3: ["Bo", "Li", "y"]}),
        ('a,b\nAna,"Ruiz\nBo,"Li"\nCy,"Po"\n', {2: ["Ana", '"Ruiz'], 3: ["Bo", "Li"], 4: ["Cy", "Po"]}),
        ('a,b\n"Ana,"Ruiz"\n"Bo","Li"\n', {2: ['"Ana', '"Ruiz"'], 3: ["Bo", "Li"]}),
        (
            'a,b,c\nAna,a@x.example,"pain\nBo,b@x.example,pain\nCy,c@x.example,5 feet 6"\n',
            {2: ["Ana", "a@x.example", '"pain'], 3: ["Bo", "b@x.example", "pain"],
             4: ["Cy", "c@x.example", '5 feet 6"']},
        ),
    ],
)  # fmt: skip
def test_open_quote_spoils_one_row(text, rows):
    found = table(text.encode())
    assert (found.rows, found.problems) == (rows, {2: "open_quote"})


def test_open_quote_before_many_rows():
    rows = "".join(f"Bo,Li,b{n}@x.example\n" for n in range(400))
    found = table(b'a,b,c\nAna,"Ruiz,a@x.example\n' + rows.encode())
    assert (len(found.rows), found.problems) == (401, {2: "open_quote"})


def test_hostile_quotes_take_no_longer_than_others():
    rows = '"",""x\n' * 100_000  # read as an open cell, each looks like the inside of the one before
    found = csv_files.read_rows(io.BytesIO(b"a,b\n" + rows.encode()), encoding="utf-8", delimiter=",")
    assert sum(1 for _ in found) == 100_000


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('"say ""hi"""', 'say "hi"'),
        ('"say "hi" now"', 'say "hi" now'),
        ("5'6\" tall", "5'6\" tall"),
        ('"two\nlines"', "two\nlines"),
        ('"two\r\n\r\nparts, with ""quotes"""', 'two\r\n\r\nparts, with "quotes"'),
        ('""', ""),
    ],
)
def test_quotes(cell, text):
    found = table(f"a,b,c\n1,{cell},2\n3,4,5\n".encode())
    assert (list(found.rows.values()), found.problems) == ([["1", text, "2"], ["3", "4", "5"]], {})


def test_extra_cells_are_a_problem_unless_blank():
    found = table(b"a,b\n1,2,,\n1,2,3\n1\n")
    assert found.problems == {3: "extra_cells"}
    assert found.rows == {2: ["1", "2", "", ""], 3: ["1", "2", "3"], 4: ["1"]}


@pytest.mark.parametrize(
    ("top", "first"),
    [
        ("sep=;\n", 2),
        ('"sep=;"\r\n\r\n', 3),
        ("Patients of March\n", 3),
        ("Patients, of March;;\n\n", 4),
        ("South Clinic\nReport of:;2026-03-01\n", 4),
        ("Clinic: Hillside;Report date: 2026-03-01;By: admin\nPage 1 of 1\n\n", 5),
    ],
)
def test_lines_above_the_header(top, first):
    found = table(f"{top}Name;Email;Note\nAna;a@x.example;pain, back\nBo;b@x.example;\n".encode())
    assert found.header == ["Name", "Email", "Note"]
    assert list(found.rows) == [first, first + 1]


def test_labels_above_a_header_of_commas():
    top = "Clinic: Hillside,Report date: 2026-03-01,By: admin\nPage 1 of 1\n\n"
    assert table(f"{top}Name,Email\nAna,a@x.example\n".encode()).rows == {5: ["Ana", "a@x.example"]}


@pytest.mark.parametrize(
    "text",
    [
        "Email,,\na@x.example,Ana,Ruiz\n",
        "Email: own,Name: full\na@x.example,Ana\n",
        "Email\na@x.example\n",
        "First,Last\nAna,Ruiz,a@x.example\n",
    ],
)
def test_header_with_few_names(text):
    found = table(text.encode())
    assert found.header[0] in text.splitlines()[0]
    assert len(found.rows) == 1


def test_doubled_and_unnamed_headers():
    header = table(b"Email,Name,email,,,EMAIL\n1,2,3,4,5,6\n").header
    assert header == ["Email", "Name", "email (2)", "", "", "EMAIL (3)"]
    mapping = {"1": "first_name", "2": "email", "3": "phone"}
    kept = csv_files.remember_columns(header, mapping, remembered={})
    assert kept == {"name": "first_name", "email 2": "email"}
    assert csv_files.guess_columns(header, kept, names=NAMES) == {"1": "first_name", "2": "email"}
    assert csv_files.guess_columns(["Email", ""], kept, names=NAMES) == {"0": "email"}


@pytest.mark.parametrize(
    "name", ["patient_birth_date", "Patient DOB", "Client birth date", "Birth date of the patient"]
)
def test_columns_about_the_patient(name):
    assert csv_files.guess_columns([name], {}, names=NAMES) == {"0": "birth_date"}


CELLS = st.text(st.sampled_from("ab é“\"',;\t|\r\n="), max_size=6)


@given(
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=5), max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(ENCODINGS[:1] + ENCODINGS[1:2] + ENCODINGS[3:]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_well_written_rows_come_back_as_they_are(rows, delimiter, encoding, quoting):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting)
    writer.writerows([["First", "Last", "Email", "Phone", "Note"], *rows])
    content = text.getvalue().encode(encoding)
    found = csv_files.detect([content], most_bytes=1_000_000)
    assert found.header == ["First", "Last", "Email", "Phone", "Note"]
    read = csv_files.read_rows(io.BytesIO(content), encoding=found.encoding, delimiter=found.delimiter)
    assert [row.cells for row in read] == [row for row in rows if any(map(str.strip, row))]


@given(st.text(st.sampled_from("ab1@\"',;\n "), max_size=200), st.sampled_from(",;"))
def test_no_letter_of_any_text_is_lost(text, delimiter):
    content = f"First{delimiter}Last{delimiter}Email\n{text}".encode()
    rows = csv_files.read_rows(io.BytesIO(content), encoding="utf-8", delimiter=delimiter)
    letters = [letter for row in rows for cell in row.cells for letter in cell if letter in "ab1@"]
    assert letters == [letter for letter in text if letter in "ab1@"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0=", " =", "＝"])
def test_no_cell_is_run(start):
    assert csv_files.safe_cell(f"{start}cmd()").startswith("'")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_every_cell_of_a_line_is_harmless(cells):
    (line,) = csv_files.csv_lines([cells])
    for cell in next(csv.reader(io.StringIO(line, newline="")), []):
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\0"))
