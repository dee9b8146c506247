"""Rooms: kept by an administrator, booked once at a time, and what is left of one that was removed."""

from datetime import timedelta

import pytest

from crm.consultations import queries, rooms
from crm.consultations import service as consultations
from crm.core.errors import Invalid, NotFound
from tests.consultations.test_service import HOUR, SOON, book, doctors  # noqa: F401 - fixture
from tests.leads.test_service import lead, referral  # noqa: F401 - fixtures


def names():
    return [room.name for room in queries.rooms()]


def test_add_rename_remove(edge):
    small, _large = rooms.add(" Room b "), rooms.add("Room A")
    assert names() == ["Room A", "Room b"]
    rooms.rename(small.id, "Annex")
    assert names() == ["Annex", "Room A"]
    rooms.remove(small.id)
    assert names() == ["Room A"]
    assert rooms.add("ANNEX") == small
    assert names() == ["ANNEX", "Room A"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 41, "room a"])
def test_names_that_are_refused(edge, name):
    rooms.add("Room A")
    other = rooms.add("Room B")
    for refused in (lambda: rooms.add(name), lambda: rooms.rename(other.id, name)):
        with pytest.raises(Invalid) as error:
            refused()
        assert list(error.value.fields) == ["room"]


def test_a_removed_room_is_not_found(edge):
    room = rooms.add("Room A")
    rooms.remove(room.id)
    for act in (lambda: rooms.remove(room.id), lambda: rooms.rename(room.id, "B")):
        with pytest.raises(NotFound):
            act()


@pytest.mark.parametrize(
    ("same_room", "minutes_later", "asks"),
    [(True, 0, True), (True, 45, True), (True, -30, True), (True, 60, False), (False, 0, False)],
)
def test_a_taken_room_asks(lead, referral, doctors, same_room, minutes_later, asks):  # noqa: F811
    """Two clinicians at one time, so only the room is in the way."""
    first, second = rooms.add("Room A"), rooms.add("Room B")
    book(lead, clinician_id=doctors[0].id, room_id=first.id)
    more = {
        "at": SOON + timedelta(minutes=minutes_later),
        "clinician_id": doctors[1].id,
        "room_id": (first if same_room else second).id,
    }
    if asks:
        with pytest.raises(Invalid) as error:
            book(referral, **more)
        assert error.value.fields == {"confirmed": ["Room A is taken at 10:00 AM, for 60 minutes."]}
    assert book(referral, **more, confirmed=asks).room_id == more["room_id"]


def test_a_booking_keeps_its_room_or_leaves_it(lead):  # noqa: F811
    room = rooms.add("Room A")
    made = book(lead, room_id=room.id)
    rooms.remove(room.id)
    moved = consultations.rebook(consultation_id=made.id, starts_at=SOON + HOUR)
    assert moved.room == room
    free = consultations.rebook(consultation_id=moved.id, starts_at=moved.starts_at, room_id=0)
    assert free.room is None
    with pytest.raises(Invalid) as error:
        consultations.rebook(consultation_id=free.id, starts_at=free.starts_at, room_id=room.id)
    assert list(error.value.fields) == ["room"]


def test_filters(lead, referral):  # noqa: F811
    room = rooms.add("Room A")
    mine, other = book(lead, room_id=room.id), book(referral, SOON + HOUR)
    for room_id, found in ((room.id, [mine]), (0, [other]), (None, [mine, other])):
        assert queries.between(SOON.date(), SOON.date(), room_id=room_id) == found
        assert queries.load_list("coming", room_id=room_id).rows == found
