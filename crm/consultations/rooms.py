"""Rooms of the clinic, in which consultations are booked: add, rename, remove."""

from sqlalchemy import func, select

from crm.audit import service as audit
from crm.consultations.models import Room
from crm.contacts.rules import InvalidValue, clean_text
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Invalid, NotFound

NAME_LIMIT = 40  # characters


def add(name: str) -> Room:
    """Add a room; one of this name that was removed comes back. Raises Invalid."""
    name = _clean(name)
    room = _named(name)
    if room is None:
        room = Room(name=name)
        db.session.add(room)
    elif room.removed_at is None:
        raise Invalid({"room": ["There is a room of this name."]})
    room.name, room.removed_at = name, None
    db.session.flush()
    audit.record("room.add", object_type="room", object_id=room.id)
    return room


def rename(room_id: int, name: str) -> None:
    """Rename a room. Raises NotFound, Invalid."""
    room, name = _get(room_id), _clean(name)
    other = _named(name)
    if other is not None and other is not room:
        raise Invalid({"room": ["There is a room of this name, or there was one. Choose another name."]})
    room.name = name
    db.session.flush()
    audit.record("room.rename", object_type="room", object_id=room.id)


def remove(room_id: int) -> None:
    """Remove a room: no consultation can be booked in it; those that are keep it. Raises NotFound."""
    room = _get(room_id)
    room.removed_at = clock.now()
    db.session.flush()
    audit.record("room.remove", object_type="room", object_id=room.id)


def _get(room_id: int) -> Room:
    room = db.session.get(Room, room_id)
    if room is None or room.removed_at is not None:
        raise NotFound("Room not found.")
    return room


def _named(name: str) -> Room | None:
    return db.session.scalar(select(Room).where(func.lower(Room.name) == func.lower(name)))


def _clean(name: str) -> str:
    try:
        name = clean_text(name, limit=NAME_LIMIT, lines=False)
    except InvalidValue as error:
        raise Invalid({"room": [str(error)]}) from error
    if not name:
        raise Invalid({"room": ["Enter a name."]})
    return name
