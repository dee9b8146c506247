"""CSV files as people save them: encoding, delimiter, header, rows, columns; and cells that no spreadsheet runs.

Pure. Spreadsheets save UTF-8 with or without a byte order mark, UTF-16 and, as plain "CSV", Windows-1252. A large file
is read in pieces (`detect`, then `read_rows`), a small one at once (`read_table`).
"""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import IO, Self

from crm.core.csv_parser import Record, parse
from crm.core.text import fold

MOST_COLUMNS = 200
HEADER_LIMIT = 100  # characters of a column's name that are kept
REMEMBERED = 500  # columns whose meaning is kept for the next file
_HEADER_BYTES = 2 * 1024 * 1024  # the header ends within these
_TOP_LINES, _TOP_ROWS = 60, 20  # the names of the columns stand within these
_DELIMITERS = ",;\t|"
_TOLD = re.compile(r"\ufeff?\"?sep=([,;\t|])\"?[,;\t|\s]*", re.IGNORECASE)
_DATA = re.compile(r"@|\d{4}|\d[/.-]\d")  # in a cell that is no name of a column
_LABELED = re.compile(r"[^:]+:\s*\S")  # "Clinic: Hillside", in a title
_NUMBERED = re.compile(r" \(\d+\)$")
_OF_A_PATIENT = re.compile(
    "^(?:patients?|paciente|pt|client|person|contact)|(?:of(?:the)?patient|delpaciente)$"
)
EXTRA_CELLS = "extra_cells"
_WINDOWS = "cp1252"
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"%PDF-")


class BadFile(ValueError):
    """A file that cannot be read as CSV. `code` says why; `count` is the number of columns or rows if that is too many.

    Codes: empty, big, archive, not_text, cells, columns, no_rows, rows.
    """

    def __init__(self, code: str, count: int = 0) -> None:
        super().__init__(code)
        self.code, self.count = code, count


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a file is written. `lines` is an estimate: a quoted cell may span several lines."""

    encoding: str
    delimiter: str
    header: list[str]
    size: int
    lines: int


@dataclass(frozen=True, kw_only=True)
class Table:
    """A whole file. `rows` maps the number of a row, as a spreadsheet counts it, to its cells.

    `problems` has the code of each row that cannot be trusted: open_quote, extra_cells.
    """

    header: list[str]
    rows: dict[int, list[str]]
    problems: dict[int, str] = field(default_factory=dict)


def detect(pieces: Iterable[bytes], *, most_bytes: int) -> Format:
    """Read a file through once and return how it is written. The first piece shows the encoding: 4,096 bytes will do.

    Raises BadFile: empty, big, archive, not_text, cells, columns.
    """
    parts = iter(pieces)
    start = next(parts, b"")
    if start.startswith(_ARCHIVES):
        raise BadFile("archive")
    scan = _Scan(encoding_of(start[:4096]), most_bytes=most_bytes)
    for piece in chain([start], parts):
        scan.feed(piece)
    encoding = scan.finish()
    delimiter, header = _header(_decode_start(bytes(scan.start), encoding))
    return Format(encoding=encoding, delimiter=delimiter, header=header, size=scan.size, lines=scan.lines)


class _Scan:
    """One pass over the bytes of a file: its size, its lines, and whether it is text in one encoding."""

    def __init__(self, encoding: str | None, *, most_bytes: int) -> None:
        self.known, self.most_bytes = encoding, most_bytes
        self.size, self.lines, self.start = 0, 0, bytearray()
        self._last = b"\n"
        self._decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder(encoding or "utf-8")()

    def feed(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self.most_bytes:
            raise BadFile("big")
        if len(self.start) < _HEADER_BYTES:
            self.start += piece[: _HEADER_BYTES - len(self.start)]
        self.lines += piece.count(b"\n") or piece.count(b"\r")
        self._last = (self._last + piece)[-2:]
        self._decode(piece)
        if self._decoder is None and b"\0" in piece:
            raise BadFile("not_text")

    def finish(self) -> str:
        """Return the encoding."""
        self._decode(b"", final=True)
        self.lines += not self._last.strip(b"\0").endswith((b"\n", b"\r"))
        return self.known or ("utf-8" if self._decoder else _WINDOWS)

    def _decode(self, piece: bytes, *, final: bool = False) -> None:
        if self._decoder is None:
            return
        try:
            text = self._decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            if self.known:
                raise BadFile("not_text") from error
            self._decoder = None  # not UTF-8, so what spreadsheets save as plain CSV
        else:
            if "\0" in text:
                raise BadFile("not_text")


def encoding_of(start: bytes) -> str | None:
    """Return the encoding that the first bytes of a file give away; None where UTF-8 or Windows-1252 is still open."""
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


def _decode_start(start: bytes, encoding: str) -> str:
    return codecs.getincrementaldecoder(encoding)("replace").decode(start)


def _header(start: str) -> tuple[str, list[str]]:
    """Return the delimiter and the names of the columns."""
    top = _Top.read(io.StringIO(start, newline=""))
    if not any(map(str.strip, top.lines)):
        raise BadFile("empty")
    delimiter = top.delimiter or delimiter_of(top.lines)
    found = _header_row(_first_rows(top.lines, delimiter))
    if found.problem:
        raise BadFile("cells")
    if len(found.cells) > MOST_COLUMNS:
        raise BadFile("columns", len(found.cells))
    return delimiter, unique_names([shown(name) for name in found.cells])


@dataclass(kw_only=True)
class _Top:
    """The first lines of a file, without a line "sep=;", which names the delimiter for Excel."""

    lines: list[str]
    delimiter: str | None

    @classmethod
    def read(cls, text: Iterable[str]) -> Self:
        lines: list[str] = []
        delimiter, filled = None, 0
        for line in text:
            told = None if filled else _TOLD.fullmatch(line)
            if told:
                delimiter = told[1]
                continue
            lines.append(line)
            filled += bool(line.strip())
            if filled == _TOP_LINES:
                break
        return cls(lines=lines, delimiter=delimiter)


def _first_rows(lines: Sequence[str], delimiter: str) -> list[Record]:
    rows = (row for row in parse(lines, delimiter) if any(map(str.strip, row.cells)))
    return list(islice(rows, _TOP_ROWS)) or [Record(1, [])]


def _header_row(rows: Sequence[Record]) -> Record:
    """Return the row with the names of the columns: the first one, unless titles stand above it.

    A title has one cell, or two with a date or number ("Report of: | 2026-03-01"); names of columns hold neither, and
    are more. It may also have several cells, each a label and a value ("Clinic: Hillside | By: admin").
    """
    first = rows[0]
    if _filled(first) > 1 and _is_labeled(first):
        return _below_labels(rows)
    if _filled(first) == 1 or (_filled(first) == 2 and _holds_data(first)):
        for row in rows[1:]:
            if _filled(row) > max(1, _filled(first)) and not _holds_data(row):
                return row
            if _filled(row) > 2:
                break
    return first


def _below_labels(rows: Sequence[Record]) -> Record:
    """Return the first row of several cells below titles of labels and values, if it has names of columns."""
    for row in rows:
        if _filled(row) > 1 and not _is_labeled(row):
            return rows[0] if _holds_data(row) else row
    return rows[0]


def _is_labeled(row: Record) -> bool:
    return all(_LABELED.match(cell) for cell in row.cells if cell.strip())


def _filled(row: Record) -> int:
    return sum(map(bool, map(str.strip, row.cells)))


def _holds_data(row: Record) -> bool:
    return any(_DATA.search(cell) for cell in row.cells)


def delimiter_of(lines: Sequence[str]) -> str:
    """Return the delimiter by which most rows have as many cells as the header; the comma where none is better."""
    return max(_DELIMITERS, key=lambda one: _fit(_first_rows(lines, one), comma=one == ","))


def _fit(rows: Sequence[Record], *, comma: bool) -> tuple[int, int, bool]:
    found = _header_row(rows)
    columns = len(found.cells)
    above = "".join(chain.from_iterable(row.cells for row in rows if row.number < found.number))
    if (
        columns < 2 or found.problem or max(map(above.count, _DELIMITERS)) > 1
    ):  # a title holds no list of names
        return 0, 0, comma
    return sum(len(row.cells) == columns for row in rows if row.number >= found.number), columns, comma


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names of columns in which one that stands twice has its number: Email, Email (2)."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        number, one = 1, name
        while name and fold(one) in taken:
            number += 1
            one = f"{name} ({number})"
        taken.add(fold(one))
        found.append(one)
    return found


def read_rows(file: IO[bytes], *, encoding: str, delimiter: str) -> Iterator[Record]:
    """Yield the rows below the header; rows of blanks are left out.

    A row has a problem where a quotation mark stays open (`open_quote`) or where cells stand beyond the header
    (`extra_cells`): one comma without quotation marks moves all cells after it into the wrong columns.
    Raises BadFile: not_text.
    """
    errors = "replace" if encoding == _WINDOWS else "strict"  # five bytes are no letters in Windows-1252
    text = io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="")
    try:
        top = _Top.read(text)
        header = _header_row(_first_rows(top.lines, delimiter))
        width = len(header.cells)
        for row in parse(chain(top.lines, text), delimiter, width=width):
            if row.number > header.number and any(map(str.strip, row.cells)):
                extra = not row.problem and any(map(str.strip, row.cells[width:]))
                yield row._replace(problem=EXTRA_CELLS) if extra else row
    except UnicodeError as error:
        raise BadFile("not_text") from error


def read_table(content: bytes, *, most_bytes: int, most_rows: int) -> Table:
    """Return what a whole file holds. Raises BadFile."""
    found = detect([content], most_bytes=most_bytes)
    rows = list(read_rows(io.BytesIO(content), encoding=found.encoding, delimiter=found.delimiter))
    if not rows:
        raise BadFile("no_rows")
    if len(rows) > most_rows:
        raise BadFile("rows", len(rows))
    return Table(
        header=found.header,
        rows={row.number: row.cells for row in rows},
        problems={row.number: row.problem for row in rows if row.problem},
    )


def shown(text: str, *, limit: int = HEADER_LIMIT) -> str:
    """Return what a cell holds as one short line of letters that can be shown."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())[:limit]


def samples(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return, for each column, what some rows hold, so that a person can tell what the column is."""
    found = []
    for number in range(len(header)):
        cells = (shown(cells[number]) for cells in rows if number < len(cells))
        found.append(" · ".join(dict.fromkeys(cell for cell in cells if cell)))
    return found


def guess_columns(
    header: Sequence[str], remembered: Mapping[str, str], *, names: Mapping[str, str]
) -> dict[str, str]:
    """Return column number (as text) -> field: as remembered by the column's name, else as the name suggests.

    `names` maps each field to its other names: folded, without spaces inside, separated by a space.
    """
    found: dict[str, str] = {}
    known = [remembered.get(fold(name)) if fold(name) else "" for name in header]
    by_name = [_by_name(name, names) if one is None else "" for name, one in zip(header, known, strict=True)]
    for guesses in (known, by_name):  # what was chosen before comes first
        for number, guess in enumerate(guesses):
            if guess and guess in names and guess not in found.values():
                found[str(number)] = guess
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def _by_name(name: str, names: Mapping[str, str]) -> str:
    plain = fold(name).replace(" ", "")
    for one in filter(None, (plain, _OF_A_PATIENT.sub("", plain))):
        for field_name, also in names.items():
            if one in (field_name.replace("_", ""), *also.split()):
                return field_name
    return ""


def remember_columns(
    header: Sequence[str], mapping: Mapping[str, str], *, remembered: Mapping[str, str]
) -> dict[str, str]:
    """Return what to remember for the next file: folded name of a column -> field, empty where it is left out.

    An ignored column is not remembered if its name is empty or occurs twice, because in the next file the name may
    occur once.
    """
    doubled = {fold(_NUMBERED.sub("", name)) for name in header if _NUMBERED.search(name)}
    chosen = {}
    for number, name in enumerate(header):
        one = mapping.get(str(number), "")
        if fold(name) and (one or fold(_NUMBERED.sub("", name)) not in doubled):
            chosen[fold(name)] = one
    return dict(list({**remembered, **chosen}.items())[-REMEMBERED:])


_RUNS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


def safe_cell(text: str) -> str:
    """Return text that a spreadsheet shows and never runs (OWASP, "CSV Injection"): an apostrophe goes before it."""
    plain = text.replace("\0", "")
    return f"'{plain}" if text.startswith(_RUNS) or plain.lstrip(" ").startswith(_RUNS) else plain


def plain_cell(text: str) -> str:
    """Return a cell without the apostrophe that `safe_cell` put before it: exported files can be imported again."""
    return text[1:] if text.startswith("'") and safe_cell(text[1:]) == text else text


def csv_lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield rows as lines of CSV (RFC 4180), every cell safe."""
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow([safe_cell(cell) for cell in row])
        yield line.getvalue()
