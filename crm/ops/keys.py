"""Rotation of field keys: what is encrypted with which key, and encrypting it with the newest, in slices.

A run may be stopped at any time and started again: what the newest key has encrypted is not touched again.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from flask import current_app
from sqlalchemy import (
    Column,
    ColumnElement,
    LargeBinary,
    Select,
    Table,
    Text,
    and_,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
    update,
)

from crm.audit.models import ActChange
from crm.core import current
from crm.core.db import Base, Encrypted, db, transaction
from crm.staff.models import User
from crm.staff.sign_in.setup import OnceTotp

SLICE = 500  # rows in one transaction


@dataclass(frozen=True, kw_only=True)
class Place:
    """One encrypted column."""

    table: Table
    column: Column[bytes]
    only: ColumnElement[bool]  # the rows whose bytes are encrypted

    @property
    def name(self) -> str:
        return f"{self.table.name}.{self.column.name}"

    @property
    def raw(self) -> ColumnElement[bytes]:
        """The stored bytes, not decrypted."""
        return func.substring(self.column, 1, type_=LargeBinary())


def places() -> list[Place]:
    """Return every encrypted column, by name."""
    found = []
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            given = column.info.get("encrypted", isinstance(column.type, Encrypted))
            if given:
                only = table.columns[given].is_(True) if isinstance(given, str) else true()
                found.append(Place(table=table, column=column, only=and_(column.is_not(None), only)))
    return sorted(found, key=lambda place: place.name)


def count() -> dict[str, Counter[str]]:
    """Return how many values each key has encrypted, by column. A column without values is left out."""
    found = {}
    for place in places():
        size = func.get_byte(place.raw, 0)
        key_id = func.convert_from(func.substring(place.raw, 2, size), "UTF8")
        rows = db.session.execute(select(key_id, func.count()).where(place.only).group_by(key_id)).all()
        if rows:
            found[place.name] = Counter({str(name): number for name, number in rows})
    return found


def rotate() -> Generator[tuple[str, int], None, None]:
    """Encrypt everything with the newest key; yield (column, values so far) after each slice."""
    for place in places():
        after, done = None, 0
        while True:
            with transaction():
                db.session.execute(text("set local crm.rekey = 'on'"))  # the same words, encrypted anew
                rows = _old_rows(place, after)
                for row in rows:
                    done += _encrypt_again(place, row)
                if not rows:
                    break
                after = tuple(rows[-1][:-1])
            yield place.name, done


def _old_rows(place: Place, after: tuple[Any, ...] | None) -> list[Any]:
    prefix = current.services().field_keys.prefix
    key = list(place.table.primary_key.columns)
    old = func.substring(place.raw, 1, len(prefix)) != prefix
    query = select(*key, place.raw).where(place.only, old).order_by(*key).limit(SLICE)
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    return list(db.session.execute(query.with_for_update()).all())


def _encrypt_again(place: Place, row: Any) -> int:
    *key, old = row
    fresh = current.services().field_keys.encrypt_again(bytes(old))
    same = [column == value for column, value in zip(place.table.primary_key.columns, key, strict=True)]
    statement = (
        update(place.table)
        .where(*same)
        .values({place.column.name: cast(literal(fresh, LargeBinary), LargeBinary)})
    )
    done = db.session.execute(statement)
    return int(done.rowcount)  # type: ignore[attr-defined]


def rotate_images() -> int:
    """Encrypt the images of rows anew that an undo restores; return how many. Last, as columns make new ones until then."""
    after, done, encrypted = 0, 0, defaultdict(set)
    for place in places():
        encrypted[place.table.name].add(place.column.name)
    while True:
        with transaction():
            changes = db.session.scalars(_old_images(after)).all()
            for change in changes:
                columns, after = encrypted[change.table_name], change.id
                change.before, change.after = (
                    _image_again(one, columns) for one in (change.before, change.after)
                )
            done += len(changes)
        if not changes:
            return done


def _old_images(after: int) -> Select[ActChange]:
    older = [key_id for key_id, _ in current.settings().field_keys[1:]]
    holds = or_(false(), *map(_image_holds, older))
    return (
        select(ActChange)
        .where(ActChange.id > after, holds)
        .order_by(ActChange.id)
        .limit(SLICE)
        .with_for_update()
    )


def _image_holds(key_id: str) -> ColumnElement[bool]:
    """Find images with a value that this key encrypted."""
    start = f"%{_in_image(key_id)[1:]}%"  # without the backslash, which LIKE would read
    return or_(cast(ActChange.before, Text).like(start), cast(ActChange.after, Text).like(start))


def _in_image(key_id: str) -> str:
    """Return how a value that this key encrypted begins in an image: bytes in hexadecimal."""
    return f"\\x{len(key_id):02x}{key_id.encode().hex()}"


def _image_again(image: dict[str, Any] | None, columns: Collection[str]) -> dict[str, Any] | None:
    if image is None:
        return None
    older = tuple(_in_image(key_id) for key_id, _ in current.settings().field_keys[1:])
    again = {
        name: "\\x" + current.services().field_keys.encrypt_again(bytes.fromhex(value[2:])).hex()
        for name, value in image.items()
        if name in columns and isinstance(value, str) and value.startswith(older)
    }
    return image | again


def rotate_second_factors() -> int:
    """Encrypt the secrets of authenticator apps with the newest key; return how many."""
    done = 0
    with transaction():
        users = select(User).where(User.tf_totp_secret.is_not(None)).with_for_update()
        for user in db.session.scalars(users):
            fresh = _totp().encrypt_again(user.tf_totp_secret or "")
            user.tf_totp_secret = fresh or user.tf_totp_secret
            done += fresh is not None
    return done


def _totp() -> OnceTotp:
    factory: OnceTotp = current_app.extensions["security"]._totp_factory
    return factory


def obstacles(key_id: str) -> list[str]:
    """Return why this key cannot be removed from FIELD_KEYS yet; an empty list when it can."""
    return [*_roles(key_id), *_values(key_id)]


def _roles(key_id: str) -> Iterator[str]:
    settings = current.settings()
    ids = [one for one, _ in settings.field_keys]
    if key_id == ids[0]:
        yield f"{key_id} is the newest key; it encrypts. Put a new key before it in FIELD_KEYS."
    if key_id == ids[-1] and settings.index_key is None:
        yield f"{key_id} also makes the blind indexes. Set INDEX_KEY to what `flask keys index-key` prints."


def _values(key_id: str) -> Iterator[str]:
    for column, counted in count().items():
        if counted[key_id]:
            yield f"{column} holds {counted[key_id]:,} values under {key_id}. Run: flask keys rotate"
    secrets = select(User.tf_totp_secret).where(User.tf_totp_secret.is_not(None))
    if any(_totp().encrypt_again(one or "") for one in db.session.scalars(secrets)):
        yield "Secrets of authenticator apps are under an older key. Run: flask keys rotate"
    images = select(func.count()).select_from(ActChange).where(_image_holds(key_id))
    if held := db.session.scalar(images):
        yield f"What staff can undo holds values under {key_id} ({held:,} rows). Run: flask keys rotate"
