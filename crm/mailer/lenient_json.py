"""Lenient JSON reading: what can be read of a text that is not quite JSON. Pure.

A strict reader refuses a whole post for one lone surrogate, `NaN`, raw line break, bad byte or missing comma, and the
sound items beside it are lost. This one reads each item for itself and counts the pieces that it could not read.
"""

import json
from typing import Any

MOST_ATTEMPTS = 2_000  # failed starts in one text, after which the rest counts as one unread piece
_LONGEST_INTEGER = 40  # digits; Python refuses to read more than 4,300
_FILLING = " \t\r\n,[]\0\ufeff"  # what may stand between items
_LOOK_BACK = 16  # characters before a brace in which to look for what it follows


class DoubledKeys(dict[str, Any]):
    """An object in which a key stands twice with different values: itself holds the last of them, `first` the first."""

    first: dict[str, Any]


def read_items(raw: bytes) -> tuple[list[Any], int]:
    """Return the items of a JSON array, and how many pieces of the text could not be read."""
    text = raw.decode(json.detect_encoding(raw), "replace")
    try:
        found = _DECODER.decode(text.strip(_FILLING.replace("[", "").replace("]", "")))
    except (ValueError, RecursionError):
        return _salvage(text)
    if isinstance(found, list):
        return found, 0
    return ([found], 0) if isinstance(found, dict) else ([], 1)


def _salvage(text: str) -> tuple[list[Any], int]:
    """Read each object that can be read. A failed one is passed over up to the next brace that may begin an item.

    Foreign text cannot forge an item: quotes inside a string are escaped, so what stands in one is no JSON.
    """
    items: list[Any] = []
    unread = read_to = attempts = 0
    start = text.find("{")
    while start >= 0 and attempts < MOST_ATTEMPTS:
        nested = _is_nested(text, start)
        end = None if nested else _object_end(text, start, items)
        if end is None:
            attempts += not nested
            start = text.find("{", start + 1)
            continue
        unread += bool(text[read_to:start].strip(_FILLING))
        read_to = end
        start = text.find("{", end)
    return items, unread + bool(text[read_to:].strip(_FILLING) or not items)


def _object_end(text: str, start: int, items: list[Any]) -> int | None:
    """Add the object that begins at `start` to the items; return where it ends, None when it cannot be read."""
    try:
        found, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    items.append(found)
    return end


def _is_nested(text: str, start: int) -> bool:
    """Tell whether a brace is the value of a key or part of a string."""
    return text[max(start - _LOOK_BACK, 0) : start].rstrip()[-1:] in (":", '"', "\\")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    last = dict(pairs)
    if len(last) == len(pairs):
        return last
    first = dict(reversed(pairs))
    if all(first[key] == value for key, value in last.items()):
        return last
    doubled = DoubledKeys(last)
    doubled.first = first
    return doubled


_DECODER = json.JSONDecoder(strict=False, parse_int=_integer, object_pairs_hook=_object)
