"""The database: base class, column types, and the one place where a transaction begins and ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, DateTime, Dialect, Identity, LargeBinary, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm import registry as orm_registry
from sqlalchemy.types import TypeDecorator

from crm import crypto

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


class Encrypted(TypeDecorator[str]):
    """Text that is encrypted on its way into the database (AES-256-GCM, key id inside)."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return crypto.encrypt(value.encode()) if value is not None else None

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return crypto.decrypt(value).decode() if value is not None else None


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

_AFTER = "after_commit"
_DEPTH = "transaction_depth"


@contextmanager
def transaction() -> Iterator[None]:
    """Commit when the block ends, then run what `after_commit` collected; on any error roll back and forget it.

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
        wishes = info[_AFTER]
    except BaseException:
        db.session.rollback()
        raise
    finally:
        info[_DEPTH] = False
        info[_AFTER] = []
    for wish in wishes:
        wish()


def after_commit(wish: Callable[[], None]) -> None:
    """Run `wish` once the running transaction has committed; a rollback forgets it."""
    if not db.session.info.get(_DEPTH):
        raise RuntimeError("Nothing is about to be committed: this must run inside transaction().")
    db.session.info[_AFTER].append(wish)
