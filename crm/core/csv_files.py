"""CSV files as people save them: encoding, delimiter, header, rows, columns; and cells that no spreadsheet runs.

Pure. Spreadsheets save UTF-8 with or without a byte order mark, UTF-16 and, as plain "CSV", Windows-1252. A large file
is read in pieces (`detect`, then `read_rows`), a small one at once (`read_table`).
"""

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import IO

from crm.core.text import fold

MOST_COLUMNS = 200
HEADER_LIMIT = 100  # characters of a column's name that are kept
REMEMBERED = 500  # columns whose meaning is kept for the next file
_HEADER_BYTES = 2 * 1024 * 1024  # the header ends within these
_DELIMITERS = ",;\t|"
_WINDOWS = "cp1252"
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"%PDF-")


class BadFile(ValueError):
    """A file that cannot be read as CSV. `code` says why; `count` is how many there were of what was too many.

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
    """A whole file. `rows` maps the number of a row, as a spreadsheet counts it, to its cells."""

    header: list[str]
    rows: dict[int, list[str]]


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
    if not start.strip():
        raise BadFile("empty")
    delimiter = delimiter_of(next(line for line in start.splitlines() if line.strip()))
    _, names = next(_rows(io.StringIO(start, newline=""), delimiter), (0, []))
    if len(names) > MOST_COLUMNS:
        raise BadFile("columns", len(names))
    return delimiter, [shown(name) for name in names]


def delimiter_of(line: str) -> str:
    """Return the delimiter (, ; tab |) by which a header has most columns; the comma where it has one."""
    try:
        return max(
            _DELIMITERS, key=lambda one: (len(next(csv.reader([line], delimiter=one), [])), one == ",")
        )
    except csv.Error as error:
        raise BadFile("cells") from error


def read_rows(file: IO[bytes], *, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number, cells) of the rows below the header; rows of blanks are left out.

    Raises BadFile: not_text, cells.
    """
    errors = "replace" if encoding == _WINDOWS else "strict"  # five bytes are no letters in Windows-1252
    rows = _rows(io.TextIOWrapper(file, encoding=encoding, errors=errors, newline=""), delimiter)
    next(rows, None)
    yield from rows


def _rows(text: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    try:
        for number, cells in enumerate(csv.reader(text, delimiter=delimiter), 1):
            if any(map(str.strip, cells)):
                yield number, cells
    except csv.Error as error:
        raise BadFile("cells") from error
    except UnicodeError as error:
        raise BadFile("not_text") from error


def read_table(content: bytes, *, most_bytes: int, most_rows: int) -> Table:
    """Return what a whole file holds. Raises BadFile."""
    found = detect([content], most_bytes=most_bytes)
    rows = dict(read_rows(io.BytesIO(content), encoding=found.encoding, delimiter=found.delimiter))
    if not rows:
        raise BadFile("no_rows")
    if len(rows) > most_rows:
        raise BadFile("rows", len(rows))
    return Table(header=found.header, rows=rows)


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
    for number, name in enumerate(header):
        field = remembered[fold(name)] if fold(name) in remembered else _by_name(name, names)
        if field in names and field not in found.values():
            found[str(number)] = field
    return found


def _by_name(name: str, names: Mapping[str, str]) -> str:
    plain = fold(name).replace(" ", "")
    for field, also in names.items():
        if plain and plain in (field.replace("_", ""), *also.split()):
            return field
    return ""


def remember_columns(
    header: Sequence[str], mapping: Mapping[str, str], *, remembered: Mapping[str, str]
) -> dict[str, str]:
    """Return what to remember for the next file: folded name of a column -> field, empty where it is left out."""
    chosen = {fold(name): mapping.get(str(number), "") for number, name in enumerate(header)}
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
