"""CSV text to rows, for files that people write and edit by hand. Pure.

If a quotation mark is never closed, the parser of the standard library reads the rest of the file as one cell, and all
later rows are lost. This parser treats the mark as an error in its own row, yields that row with a problem code, and
continues with the next line.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

OPEN_QUOTE = "open_quote"
_CELL_LIMIT = 131_072  # characters of one row with quoted line breaks
_LINE_LIMIT = 1000  # lines of one row with quoted line breaks
_SECOND_READS = 100_000  # lines that one file makes us read twice
_QUOTES = re.compile('"+')
_REACHES_SOMEBODY = re.compile(r"[^\s@]@[^\s@]|(?:\d\D?){7}")  # an address or a number


class Record(NamedTuple):
    """One row. `number` counts rows as a spreadsheet does; `problem` is a code where the row cannot be trusted."""

    number: int
    cells: list[str]
    problem: str = ""


class _OpenQuoteError(Exception):
    """A quotation mark that has no partner in its row."""


def parse(lines: Iterable[str], delimiter: str, *, width: int = 0) -> Iterator[Record]:
    """Yield the rows of some lines, each with its line end. `width` is the number of columns, 0 where it is unknown.

    A row whose quotation mark stays open is split at every delimiter, marks included, and has the problem `OPEN_QUOTE`.
    """
    source = _Lines(lines)
    number = 0
    while (line := source.next_line()) is not None:
        number += 1
        if '"' not in line:
            yield Record(number, line.rstrip("\r\n").split(delimiter))
            continue
        read = [line]
        try:
            yield Record(number, _quoted_cells(read, source, _Row(delimiter, width)))
        except _OpenQuoteError:
            source.give_back(read[1:])
            yield Record(number, line.rstrip("\r\n").split(delimiter), OPEN_QUOTE)


class _Lines:
    """Lines that can be given back, to be read a second time; only so many of one file."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.source, self.waiting, self.left = iter(lines), deque[str](), _SECOND_READS

    def next_line(self) -> str | None:
        return self.waiting.popleft() if self.waiting else next(self.source, None)

    def give_back(self, lines: Sequence[str]) -> None:
        self.waiting.extendleft(reversed(lines))
        self.left -= len(lines)


def _quoted_cells(read: list[str], source: _Lines, row: "_Row") -> list[str]:
    """Return the cells of a row that begins with the line in `read`, to which its further lines are added.

    Raises _OpenQuoteError.
    """
    while not row.feed(read[-1]):
        more = source.next_line()
        if more is None:
            raise _OpenQuoteError
        read.append(more)
        if row.size > _CELL_LIMIT or len(read) > min(_LINE_LIMIT, source.left):
            raise _OpenQuoteError
    return row.cells


class _Row:
    """A row that is put together from one or more lines."""

    def __init__(self, delimiter: str, width: int) -> None:
        self.delimiter, self.width = delimiter, width
        self.cells: list[str] = []
        self.size = 0
        self._parts: list[str] = []  # what the open quoted cell holds so far
        self._open = False

    def feed(self, line: str) -> bool:
        """Read one line; return whether the row is complete. Raises _OpenQuoteError."""
        body = line.rstrip("\r\n")
        self.size += len(line)
        at: int | None = 0
        if self._open:
            at = self._read_quoted(body, 0, end=line[len(body) :], further=True)
        while at is not None and at <= len(body):
            if body.startswith('"', at):
                self._open, self._parts = True, []
                at = self._read_quoted(body, at + 1, end=line[len(body) :])
            else:
                at = self._read_plain(body, at)
        return not self._open

    def _read_plain(self, body: str, at: int) -> int:
        """Add the cell that begins at `at`; return where the next one begins, beyond the line after the last."""
        end = body.find(self.delimiter, at)
        end = len(body) if end < 0 else end
        self.cells.append(body[at:end])
        return end + 1

    def _read_quoted(self, body: str, at: int, *, end: str, further: bool = False) -> int | None:
        """Go on with the open cell; return where the next one begins, None where the cell goes on in the next line."""
        close = self._closing(body, at)
        part = body[at:close]
        if further and self._is_row(part):
            raise _OpenQuoteError
        if close is None:
            self._parts.append(part + end)
            return None
        self._close(part)
        return close + 2

    def _close(self, part: str) -> None:
        self.cells.append("".join([*self._parts, part]).replace('""', '"'))
        self._open = False

    def _closing(self, body: str, at: int) -> int | None:
        """Return the place of the mark that closes the open cell, None where the cell goes on in the next line.

        A mark inside a cell that is not doubled, as in "a "good" day", is text. One right after a delimiter opens a
        cell, so that an earlier one was left open.
        """
        for marks in _QUOTES.finditer(body, at):
            if len(marks[0]) % 2 == 0:
                continue
            if body[marks.end() : marks.end() + 1] in ("", self.delimiter):
                return marks.end() - 1
            if body[marks.start() - 1 : marks.start()] == self.delimiter or marks.start() == 0:
                raise _OpenQuoteError
        return None

    def _is_row(self, part: str) -> bool:
        """Return whether a line inside a quoted cell has all columns of a row and a way to reach the person."""
        if self.width < 3 or part.count(self.delimiter) != self.width - 1:
            return False
        return _REACHES_SOMEBODY.search(part) is not None
