"""Cursor paging: a bounded select, and an opaque cursor that survives new rows."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import orjson
from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from crm.core.db import db
from crm.core.errors import Invalid

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """Some rows, and the cursor of the older rows after them (None: there are none)."""

    rows: Sequence[T]
    next: str | None


def encode(*values: Any) -> str:
    """Return an opaque cursor holding the sort key of the last row seen."""
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def decode(cursor: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """Return the sort key inside a cursor. Raises Invalid for a cursor that is not ours."""
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return tuple(_read(value, kind) for kind, value in zip(kinds, values, strict=True))
    except (binascii.Error, ValueError, TypeError, OverflowError) as error:
        raise Invalid({"cursor": ["This page marker is not valid. Start from the first page."]}) from error


def _read(value: Any, kind: type) -> Any:
    """Return one part of a sort key, if it is one that a column may hold. Raises ValueError, TypeError."""
    if kind is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("A moment has a time zone.")
        return moment.astimezone(UTC)
    if type(value) is not kind:  # a truth value is no number here
        raise TypeError("This is another kind of value.")
    if (isinstance(value, int) and abs(value) >= 2**63) or (isinstance(value, str) and "\0" in value):
        raise ValueError("No column holds this.")
    return value


def keyset(
    select: Select[Any],
    *,
    by: Sequence[InstrumentedAttribute[Any]],
    cursor: str | None,
    limit: int,
    kinds: Sequence[type],
    wrap: Callable[[Any], T] = lambda row: row,
) -> Page[T]:
    """Run `select` newest first by the columns `by` (the last one unique), `limit` rows after `cursor`."""
    if cursor:
        select = select.where(tuple_(*by) < tuple_(*decode(cursor, kinds)))
    found = db.session.execute(select.order_by(*(column.desc() for column in by)).limit(limit + 1)).all()
    rows = found[:limit]
    more = None
    if len(found) > limit:
        last = rows[-1]
        more = encode(*(getattr(last[0], column.key) for column in by))
    return Page(rows=[wrap(row[0]) if len(row) == 1 else wrap(row) for row in rows], next=more)
