"""The copy guard on a real PostgreSQL and Redis: what the claim and the sweep do about each mark."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import select, text, update

from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.messages.engine import claim, sweep
from crm.messages.engine.deliver import NOT_CALLED, claim_committed, deliver, post
from crm.messages.limits import copy_guard, copy_rules, switches
from crm.messages.limits.copy_rules import Difference
from crm.messages.limits.outside_mark import KEY
from crm.messages.models import Batch, SendingControl, SendMark
from crm.staff.models import Alert

NEVER = Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))


def take(app, batch_id: int) -> claim.Attempt | None:
    return claim_committed(
        lambda: claim.claim_batch(batch_id, clinic=app.settings.clinic, public_url=app.settings.public_url)
    )


def look(*, production: bool = True) -> None:
    with transaction():
        sweep.run_sweep(production=production)


def release() -> None:
    with transaction():
        switches.release(by="Kim")


def raise_outside(app, by: int = 1) -> None:
    """Make it known outside that more was sent than the database holds."""
    marks, database = copy_guard._read()
    copy_guard.outside().raise_to(database, (marks.outside or marks.known) + by)
    db.session.commit()


def lose_file(app) -> None:
    app.settings.sending_mark_file.unlink()


def newest() -> int:
    found = db.session.scalars(select(SendMark.number).order_by(SendMark.number.desc()).limit(1)).first()
    db.session.commit()
    return found or 0


def control() -> SendingControl:
    db.session.expire_all()
    return switches.get()


def open_alert() -> str | None:
    return db.session.scalars(
        select(Alert.text).where(Alert.key == "copied-database", Alert.closed_at.is_(None))
    ).first()


@pytest.fixture
def seen(app, ready) -> int:
    """A batch that may leave, of an installation that has been swept and has sent before."""
    with (
        transaction()
    ):  # a release in another test moved the sequence to its time; a rollback does not move it back
        db.session.execute(text("select setval(pg_get_serial_sequence('send_mark', 'number'), 1, false)"))
    look()
    assert deliver(ready, settings=app.settings) == "accepted"
    with transaction():
        db.session.execute(
            text(
                "insert into batch (kind, stream, transport, content_version_id, language, topic, size, state, created_at,"
                " not_before, state_at) select kind, stream, transport, content_version_id, language, topic, 1, 'ready',"
                " created_at, not_before, state_at from batch where id = :id"
            ),
            {"id": ready},
        )
        fresh = db.session.scalar(select(Batch.id).where(Batch.state == "ready"))
        db.session.execute(
            text(
                "insert into message (batch_id, contact_id, content_version_id, consent_record_id, created_at)"
                " select :fresh, contact_id, content_version_id, consent_record_id, created_at from message"
                " where batch_id = :id"
            ),
            {"fresh": fresh, "id": ready},
        )
    return fresh


INSTANCES = [
    lambda here: None,
    lambda here: here,
    lambda here: here.rpartition("/")[0],  # a mark without timeline
    lambda here: here + "1",
    lambda here: "1" + here,
    lambda here: "elsewhere/1",
]
PLACES = [lambda here: None, lambda here: here, lambda here: here + "/copy", lambda here: here[:-1]]
NUMBERS = [
    (floor, number, outside)
    for floor, number, outside in product((None, 0, 7, 9), (0, 5, 8), (None, 0, 5, 8, 9, 10))
]


def test_the_claim_and_the_sweep_decide_alike(database, redis):
    with transaction():
        marks, name = copy_guard._read()
        decided = set()
        for instance, place, (floor, number, outside) in product(INSTANCES, PLACES, NUMBERS):
            values = {"instance": instance(marks.here), "place": place(marks.here_place), "mark_floor": floor}
            db.session.execute(update(SendingControl).values(**values))
            db.session.execute(text("delete from send_mark"))
            if number:
                db.session.execute(
                    text("insert into send_mark (number) values (:number)"), {"number": number}
                )
            redis.delete(KEY)
            if outside is not None:
                redis.zadd(KEY, {name: outside})
            by_sweep = copy_rules.find(copy_guard.read_marks(), now=clocks.now(), guard_silence=True)
            by_claim = db.session.scalar(text(f"select {copy_guard.UNCHANGED}"), copy_guard.parameters())
            assert by_claim is (by_sweep is None), (values, number, outside, by_sweep)
            decided.add(by_sweep)
    assert decided == {None, *Difference} - {Difference.DATABASE, Difference.SILENT}


def test_the_number_is_outside_before_the_provider_is_called(app, outbox, seen, monkeypatch):
    before, at_call = newest(), []
    original = outbox._post

    def looking(*given):
        at_call.append(copy_guard.outside().read())
        return original(*given)

    monkeypatch.setattr(outbox, "_post", looking)
    assert deliver(seen, settings=app.settings) == "accepted"
    assert newest() > before
    assert [list(found.values()) for found in at_call] == [[newest()]]


def test_a_claim_that_is_undone_leaves_no_number_outside(app, seen):
    before = copy_guard.outside().read()

    def dies() -> None:
        claim.claim_batch(seen, clinic=app.settings.clinic, public_url=app.settings.public_url)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        claim_committed(dies)
    assert copy_guard.outside().read() == before
    look()
    assert deliver(seen, settings=app.settings) == "accepted"


def test_without_a_place_for_the_number_no_call_is_made(app, outbox, seen, monkeypatch):
    attempt = take(app, seen)
    lose_file(app)
    app.settings.sending_mark_file.mkdir()
    monkeypatch.setattr(app.services, "redis", NEVER)
    try:
        blocked = replace(attempt, mark=replace(attempt.mark, outside=copy_guard.outside()))
        sent = len(outbox.sent)
        assert post(blocked) is NOT_CALLED
        assert len(outbox.sent) == sent
    finally:
        app.settings.sending_mark_file.rmdir()


def test_an_older_database_sends_nothing_until_released(app, outbox, seen):
    sent = len(outbox.sent)
    raise_outside(app)
    assert deliver(seen, settings=app.settings) == "nothing"  # before any sweep
    look()
    assert control().stopped_by == "system"
    assert "older than the mail" in control().stop_reason
    assert "older than the mail" in open_alert()
    assert deliver(seen, settings=app.settings) == "nothing"
    assert len(outbox.sent) == sent
    release()
    assert open_alert() is None
    assert deliver(seen, settings=app.settings) == "accepted"
    look()
    assert control().stopped_at is None


def test_a_release_is_above_a_mark_that_only_another_machine_knows(app, clock, redis, seen):
    raise_outside(app, by=50)
    clock.shift(timedelta(minutes=1))
    elsewhere = app.settings.sending_mark_file.read_bytes()
    lose_file(app)
    redis.flushall()
    clock.shift(timedelta(minutes=3))
    look()
    release()
    redis.flushall()
    app.settings.sending_mark_file.write_bytes(elsewhere)
    look()
    assert control().stopped_at is None
    assert deliver(seen, settings=app.settings) == "accepted"


def test_a_snapshot_from_before_a_release_is_older(app, seen):
    """The database as it was, put back after a release: its marks are those of that time."""
    before = control()
    kept = {"mark_floor": before.mark_floor, "instance": before.instance, "place": before.place}
    release()
    with transaction():
        db.session.execute(update(SendingControl).values(**kept))
    assert deliver(seen, settings=app.settings) == "nothing"


def test_a_release_accepts_no_copy_without_an_alert(app, seen):
    raise_outside(app)
    with transaction():
        switches.stop(by="Kim", reason="Holiday")
    release()  # before the sweep has compared the marks
    assert deliver(seen, settings=app.settings) == "nothing"
    look()
    assert open_alert() is not None
    release()
    assert deliver(seen, settings=app.settings) == "accepted"


@pytest.mark.parametrize("lost", ["redis", "file"])
def test_one_place_may_be_lost(app, redis, seen, lost):
    if lost == "redis":
        redis.flushall()
    else:
        lose_file(app)
    look()
    assert deliver(seen, settings=app.settings) == "accepted"
    look()
    assert control().stopped_at is None
    known = list(copy_guard.outside().read().values())
    redis.flushall()  # it was written back in both
    assert list(copy_guard.outside().read().values()) == known == [newest()]


def test_with_both_places_lost_it_waits_and_then_holds(app, clock, redis, seen):
    redis.flushall()
    lose_file(app)
    assert deliver(seen, settings=app.settings) == "nothing"
    look()
    assert control().stopped_at is None  # another machine may still know
    clock.shift(timedelta(minutes=3))
    look()
    assert "lost" in control().stop_reason
    assert deliver(seen, settings=app.settings) == "nothing"
    release()
    assert deliver(seen, settings=app.settings) == "accepted"


def test_lost_marks_that_come_back_need_nobody(app, clock, redis, seen):
    kept = app.settings.sending_mark_file.read_bytes()
    redis.flushall()
    lose_file(app)
    look()
    clock.shift(timedelta(minutes=1))
    app.settings.sending_mark_file.write_bytes(kept)  # the sweep of a machine that has it
    look()
    assert control().stopped_at is None
    assert deliver(seen, settings=app.settings) == "accepted"


def test_marks_of_an_older_release_are_accepted_once(app, ready):
    with transaction():
        here = copy_guard.read_marks().here
        db.session.execute(update(SendingControl).values(instance=here, place=None, mark_floor=None))
    look()
    assert control().stopped_at is None
    assert control().place == copy_guard.read_marks().here_place
    assert deliver(ready, settings=app.settings) == "accepted"


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("instance", "1/2/3", "another database server"),
        ("place", "/somewhere/else", "/somewhere/else"),
    ],
)
def test_the_reason_says_which_mark_differs(app, seen, column, value, words):
    with transaction():
        db.session.execute(update(SendingControl).values(**{column: value}))
    assert deliver(seen, settings=app.settings) == "nothing"
    look()
    assert words in control().stop_reason
    assert words in open_alert()


def test_a_copy_that_staff_stopped_before_raises_the_alert_too(app, seen):
    with transaction():
        switches.stop(by="Kim", reason="Looking at it.")
    raise_outside(app)
    look()
    assert (control().stopped_by, control().stop_reason) == ("Kim", "Looking at it.")
    assert "older than the mail" in open_alert()


def test_only_the_newest_number_is_kept(app, seen):
    assert deliver(seen, settings=app.settings) == "accepted"
    kept = newest()
    look()
    assert db.session.scalars(select(SendMark.number)).all() == [kept]


def test_a_role_that_may_not_read_the_folder_goes_by_the_address(database):
    with transaction():
        db.session.execute(text("create role reader"))
        db.session.execute(text("grant select on all tables in schema public to reader"))
        db.session.execute(text("set local role reader"))
        marks = copy_guard.read_marks()
        assert db.session.scalar(text(f"select {copy_guard.UNCHANGED}"), copy_guard.parameters())
        db.session.execute(text("reset role"))
        assert marks.here_place == copy_guard._address(database.settings.database_url)
        assert copy_guard.read_marks().here_place.startswith("/")
        db.session.rollback()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://u:p@db.internal/clinic", "db.internal:5432"),
        ("postgresql+psycopg://u:p@db.internal:6000/clinic", "db.internal:6000"),
        ("postgresql+psycopg://u@/clinic?host=/run/postgresql", "/run/postgresql:5432"),
        (None, "embedded:5432"),
    ],
)
def test_the_address_of_a_database(url, expected):
    assert copy_guard._address(url) == expected
