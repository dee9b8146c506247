"""The database: base class, column types, and the one place where a transaction begins and ends."""

import random
import re
import select
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

import structlog
from flask_sqlalchemy import SQLAlchemy
from psycopg import Connection
from psycopg.types.json import Jsonb
from sqlalchemy import (
    BigInteger,
    CursorResult,
    DateTime,
    Dialect,
    Identity,
    LargeBinary,
    MetaData,
    Result,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.event import listens_for
from sqlalchemy.exc import DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm import registry as orm_registry
from sqlalchemy.pool import Pool
from sqlalchemy.types import TypeDecorator

from crm.core import crypto

log = structlog.get_logger()

Shape = TypeVar("Shape", bound=NamedTuple)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` that takes only aware datetimes and always gives back UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("A datetime without a time zone cannot be stored.")
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None


EnumT = TypeVar("EnumT", bound=StrEnum)


class EnumText(TypeDecorator[EnumT]):
    """`text` that holds the value of a `StrEnum`: `mapped_column(EnumText(State))`. An unknown value is an error."""

    impl = Text
    cache_ok = True

    def __init__(self, enum: type[EnumT]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: EnumT | str | None, dialect: Dialect) -> str | None:
        return self.enum(value).value if value is not None else None

    def process_result_value(self, value: str | None, dialect: Dialect) -> EnumT | None:
        return self.enum(value) if value is not None else None


class Encrypted(TypeDecorator[str]):
    """Text that is encrypted on its way into the database (AES-256-GCM, key id inside)."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return sealed(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return crypto.decrypt(value).decode() if value is not None else None


ENCRYPTED = {"encrypted": True}
"""`info` of a column of bytes that `crypto.encrypt` made: `flask keys` finds it by this. The value may also name a
column of the same table that tells whether a row's bytes are encrypted."""


class Base(DeclarativeBase):
    """Base of every table; datetimes are UTC, integers 64 bits, dicts JSONB."""

    registry = orm_registry(
        metadata=MetaData(naming_convention=NAMING),
        type_annotation_map={datetime: UtcDateTime(), dict[str, Any]: JSONB, int: BigInteger},
    )


class HasId:
    """A big, ever-growing id; the order of ids is the order of arrival."""

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=False), primary_key=True)


db = SQLAlchemy(model_class=Base, disable_autonaming=True)


@listens_for(Pool, "checkout")
def _still_there(connection: Connection, *_: Any) -> None:
    """Replace a pooled connection that the server has closed: it has unread data although no query runs.

    As reliable as a query before every transaction, without its round trip.
    """
    if connection.closed:
        raise DisconnectionError
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if waiting.poll(0):
        raise DisconnectionError


def execute_raw(sql: str, given: Mapping[str, Any]) -> CursorResult[Any]:
    """Run one hand-written statement, with `:name` placeholders as in `text`, in the running transaction.

    For the few hot paths: it skips building statements and objects, which costs several times what the database
    takes. It flushes nothing first and passes values to psycopg unchanged: `sealed` and `as_json` make what encrypted
    and JSONB columns store.
    """
    return db.session.connection().exec_driver_sql(_psycopg_placeholders(sql), dict(given))


_PLACEHOLDER = re.compile(r"(?<![:\w]):([a-z]\w*)")  # not the `::` of a cast


@cache
def _psycopg_placeholders(sql: str) -> str:
    """Return a statement with `:name` written as psycopg reads it, `%(name)s`."""
    return _PLACEHOLDER.sub(r"%(\1)s", sql)


def rows_as(shape: type[Shape], found: Result[Any]) -> list[Shape]:
    """Return the rows of a hand-written statement, typed. Raises TypeError unless its columns are the fields."""
    if tuple(found.keys()) != shape._fields:
        raise TypeError(f"{shape.__name__} does not match the columns {', '.join(found.keys())}.")
    if not isinstance(found, CursorResult) or found.cursor is None:
        raise TypeError("These are not the rows of a statement.")
    # From the driver's own tuples and without `_make`, whose check was just made: three times as fast, and each batch
    # of mail has a thousand people.
    rows = found.cursor.fetchall()
    found.close()
    return list(map(partial(tuple.__new__, shape), rows))


def sealed(value: str | None) -> bytes | None:
    """Return what an `Encrypted` column holds for `value`."""
    return crypto.encrypt(value.encode()) if value is not None else None


def as_json(value: Mapping[str, Any] | None) -> Jsonb | None:
    """Return what a JSONB column takes for `value`."""
    return Jsonb(value) if value is not None else None


def bigint_array(values: Iterable[int | None]) -> str:
    """Return whole numbers as PostgreSQL's text for an array: a fifth of the driver's time for thousands of numbers."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def text_array(values: Iterable[str | None]) -> str:
    """Return texts as PostgreSQL's text for an array."""
    quoted = [
        "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for value in values
    ]
    return "{" + ",".join(quoted) + "}"


_AFTER = "after_commit"
_DEPTH = "transaction_depth"


@contextmanager
def transaction() -> Iterator[None]:
    """Commit when the block ends, then run the `after_commit` callbacks; on any error roll back and drop them.

    Only edges open one: the request, the job, the command. A block inside another joins it.
    """
    info = db.session.info
    if info.get(_DEPTH):
        yield
        return
    info[_DEPTH] = True
    info[_AFTER] = []
    try:
        yield
        db.session.commit()
        callbacks = info[_AFTER]
    except BaseException:
        db.session.rollback()
        raise
    finally:
        info[_DEPTH] = False
        info[_AFTER] = []
    for callback in callbacks:
        callback()


Done = TypeVar("Done")
_COLLIDED = ("40001", "40P01")  # serialization failure, deadlock: PostgreSQL asks for another try


def collided(error: OperationalError) -> bool:
    """Tell whether PostgreSQL rolled the transaction back because of a concurrent one."""
    return getattr(error.orig, "sqlstate", None) in _COLLIDED


def retry_transaction(work: Callable[[], Done], *, seconds: float) -> Done:
    """Run `work` in its own transaction; retry after a deadlock, a lost connection, a restart or a full disk.

    Raises the last error after `seconds`.

    For work that may run twice: a commit whose answer was lost may have succeeded.
    """
    until, pause = time.monotonic() + seconds, 0.05
    while True:
        try:
            with transaction():
                return work()
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() + pause > until:
                raise
            log.warning("database.again", error=type(error.orig).__name__)
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, guards nothing
        pause = min(pause * 2, 1.0)


def after_commit(callback: Callable[[], None]) -> None:
    """Run `callback` once the running transaction has committed; a rollback drops it. Raises RuntimeError outside one."""
    if not db.session.info.get(_DEPTH):
        raise RuntimeError("Nothing is about to be committed: this must run inside transaction().")
    db.session.info[_AFTER].append(callback)
