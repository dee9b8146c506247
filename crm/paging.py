"""Cursor paging: a bounded select, and an opaque cursor that survives new rows."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import orjson
from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from crm.db import db
from crm.errors import Invalid

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
        return tuple(
            datetime.fromisoformat(value) if kind is datetime else kind(value)
            for kind, value in zip(kinds, values, strict=True)
        )
    except (binascii.Error, ValueError, TypeError, UnicodeEncodeError) as error:
        raise Invalid({"cursor": ["This page marker is not valid. Start from the first page."]}) from error


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
