"""CSV text to rows, for files that people write and mend by hand. Pure.

The parser of the standard library reads an open quotation mark to the end of the file and so swallows every row after
it. This one takes such a mark for a mistake of the row where it stands, gives that row with a problem, and reads on
with the next line.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
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
    source, waiting = iter(lines), deque[str]()
    number, left = 0, _SECOND_READS
    while (line := waiting.popleft() if waiting else next(source, None)) is not None:
        number += 1
        if '"' not in line:
            yield Record(number, line.rstrip("\r\n").split(delimiter))
            continue
        row, read = _Row(delimiter, width), [line]
        try:
            while not row.feed(read[-1]):
                more = waiting.popleft() if waiting else next(source, None)
                if more is None:
                    raise _OpenQuoteError
                read.append(more)
                if row.size > _CELL_LIMIT or len(read) > min(_LINE_LIMIT, left):
                    raise _OpenQuoteError
        except _OpenQuoteError:
            waiting.extendleft(reversed(read[1:]))
            left -= len(read) - 1
            yield Record(number, line.rstrip("\r\n").split(delimiter), OPEN_QUOTE)
        else:
            yield Record(number, row.cells)


class _Row:
    """A row that is put together from one or more lines."""

    def __init__(self, delimiter: str, width: int) -> None:
        self.delimiter, self.width = delimiter, width
        self.cells: list[str] = []
        self.size = 0
        self._open: list[str] | None = None  # what the open quoted cell holds so far

    def feed(self, line: str) -> bool:
        """Read one line; return whether the row is complete. Raises _OpenQuoteError."""
        body = line.rstrip("\r\n")
        self.size += len(line)
        at, further = 0, self._open is not None
        while True:
            if self._open is not None:
                close = self._closing(body, at)
                part = body[at:] if close is None else body[at:close]
                if further and self._is_row(part):
                    raise _OpenQuoteError
                if close is None:
                    self._open.append(part + line[len(body) :])
                    return False
                self._close(part)
                if close + 1 == len(body):
                    return True
                at, further = close + 2, False
            elif body.startswith('"', at):
                self._open, at = [], at + 1
            else:
                end = body.find(self.delimiter, at)
                self.cells.append(body[at:] if end < 0 else body[at:end])
                if end < 0:
                    return True
                at = end + 1

    def _close(self, part: str) -> None:
        self.cells.append("".join([*(self._open or []), part]).replace('""', '"'))
        self._open = None

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
        """Return whether a line inside a quoted cell has all columns of a row and a way to reach somebody."""
        if self.width < 3 or part.count(self.delimiter) != self.width - 1:
            return False
        return _REACHES_SOMEBODY.search(part) is not None
