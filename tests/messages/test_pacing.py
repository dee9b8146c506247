"""Caps, ramps and mailbox providers: who leaves now, who waits and until when, shared by all and never lost."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from crm.core.db import db, transaction
from crm.messages import rules
from crm.messages.engine import claim
from crm.messages.limits import pacing, switches
from crm.messages.models import Batch, Message, Pace
from tests.campaigns import conftest as broadcasts
from tests.messages.test_engine import deliver_all, enrolled, plan
from tests.support import factories as support_factories

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "most"),
    [(-1, 200), (0, 200), (1, 300), (2, 450), (7, 3417), (27, 10_000_000), (4_000, 10_000_000)],
)
def test_a_young_domain_is_ramped_up(day, most):
    assert rules.ramp(started=NOON, now=NOON + timedelta(days=day)) == most


@pytest.mark.parametrize(
    ("domains", "room", "expected"),
    [
        ("aab", {}, [None, None, None]),
        ("aab", {"a": 1}, [None, "a", None]),
        ("aab", {"*": 2}, [None, None, "*"]),
        ("aab", {"*": 2, "a": 1}, [None, "a", None]),
        ("aab", {"*": 0, "a": 0}, ["a", "a", "*"]),
        ("ab", {"*": -3}, ["*", "*"]),
    ],
)
def test_who_fits(domains, room, expected):
    assert rules.share(domains, room=room) == expected


@given(
    domains=st.lists(st.sampled_from("abc"), max_size=40),
    room=st.dictionaries(st.sampled_from([*"abc", rules.ALL_MAIL]), st.integers(0, 20)),
)
def test_no_cap_is_passed_and_no_room_is_wasted(domains, room):
    places = rules.share(domains, room=room)
    going = Counter(domain for domain, why in zip(domains, places, strict=True) if why is None)
    assert all(going[domain] <= most for domain, most in room.items() if domain != rules.ALL_MAIL)
    assert going.total() <= room.get(rules.ALL_MAIL, len(domains))
    for why in filter(None, places):
        assert (going.total() if why == rules.ALL_MAIL else going[why]) == room[why]


@pytest.mark.parametrize(
    ("per_day", "ramp_from", "expected"),
    [
        (None, None, None),
        (500, None, 500),
        (None, NOON, 200),
        (100, NOON, 100),
        (500, NOON - timedelta(days=1), 300),
    ],
)
def test_the_ramp_lowers_the_cap_of_the_day(per_day, ramp_from, expected):
    row = type(
        "Row", (), {"per_day": per_day, "per_minute": None, "ramp_from": ramp_from, "domain_caps": None}
    )
    assert pacing.caps(row, now=NOON).per_day == expected


@pytest.fixture
def crowd(outbox):
    """A broadcast to 12 people, every third of them at gmail.com, frozen and ready."""
    ids = broadcasts.audience(12)
    with transaction():
        db.session.execute(
            text("update contact set email = 'g' || id || '@gmail.com' where id = any(:ids) and id % 3 = 0"),
            {"ids": ids},
        )
        campaign_id = broadcasts.service.create(name="News", item=broadcasts.ITEM)
        broadcasts.service.launch(campaign_id)
    broadcasts.freeze(campaign_id)
    return campaign_id


def pace(**values) -> None:
    with transaction():
        switches.set_pace(**{"per_minute": None, "per_day": None, "ramp_from": None, "domains": {}, **values})


def at_gmail(outbox) -> int:
    return sum(email.endswith("@gmail.com") for email in broadcasts.reached(outbox))


def test_a_cap_lets_a_part_go_and_the_rest_later(crowd, outbox, app, clock):
    pace(per_minute=5)
    for expected in (5, 10, 12, 12):
        broadcasts.deliver(app)
        broadcasts.deliver(app)
        assert len(broadcasts.reached(outbox)) == expected
        clock.shift(60)
    progress = broadcasts.progress(crowd)
    assert (progress.people, progress.accepted, progress.waiting) == (12, 12, 0)


def test_a_daily_cap_waits_for_daytime_of_the_next_day(crowd, outbox, app, clock):
    pace(per_day=4)
    broadcasts.deliver(app)
    clock.move_to(NOON.replace(hour=23, minute=59))
    broadcasts.deliver(app)
    assert len(broadcasts.reached(outbox)) == 4
    clock.move_to(datetime(2026, 3, 4, 3, 30, tzinfo=UTC))  # a new day in UTC, 19:30 where they are
    broadcasts.deliver(app)
    assert len(broadcasts.reached(outbox)) == 8
    clock.move_to(
        datetime(2026, 3, 5, 4, 30, tzinfo=UTC)
    )  # again a new day, but half past eight in the evening
    broadcasts.deliver(app)
    assert len(broadcasts.reached(outbox)) == 8


def test_the_minute_cap_does_not_use_up_the_day(crowd, outbox, app, clock):
    pace(per_minute=5, per_day=10)
    for _ in range(4):
        broadcasts.deliver(app)
    assert len(broadcasts.reached(outbox)) == 5
    clock.shift(60)
    broadcasts.deliver(app)
    assert len(broadcasts.reached(outbox)) == 10


def test_one_mailbox_provider_waits_alone(crowd, outbox, app, clock):
    pace(domains={"gmail.com": 1})
    broadcasts.deliver(app)
    assert (len(broadcasts.reached(outbox)), at_gmail(outbox)) == (9, 1)
    waiting = db.session.scalars(
        select(Batch.not_before).where(Batch.state == "ready").order_by(Batch.id)
    ).all()
    assert [at - support_factories.clock.now() for at in waiting] == [timedelta(minutes=n) for n in (1, 2, 3)]
    for expected in (2, 3, 4):
        clock.shift(60)
        broadcasts.deliver(app)
        assert at_gmail(outbox) == expected
    progress = broadcasts.progress(crowd)
    assert (progress.accepted, progress.waiting) == (12, 0)
    assert len(set(broadcasts.reached(outbox))) == 12


def test_a_restart_forgets_nothing(crowd, outbox, app):
    pace(per_minute=5)
    broadcasts.deliver(app)
    db.session.expire_all()
    assert dict(db.session.execute(select(Pace.scope, Pace.used)).all()) == {"minute": 5}


def test_transactional_mail_is_counted_and_never_held(outbox, app):
    pace(per_minute=1, domains={"patients.example": 1})
    with transaction():
        for number in range(3):
            support_factories.asked(support_factories.contact(email=f"p{number}@patients.example"))
    assert deliver_all(app) == ["accepted"] * 3
    assert dict(db.session.execute(select(Pace.scope, Pace.used)).all())["minute"] == 3
    enrolled(email="late@patients.example")
    plan()
    assert deliver_all(app) == ["nothing"]


def test_a_clock_that_lags_opens_no_window_anew(outbox, app, clock):
    enrolled()
    enrolled(email="ben@patients.example", language="es")
    plan()
    pace(per_minute=1)
    clock.shift(60)
    assert sorted(deliver_all(app)) == ["accepted", "nothing"]
    clock.shift(-60)
    with transaction():
        db.session.execute(text("update batch set not_before = created_at where state = 'ready'"))
    assert deliver_all(app) == ["nothing"]


def test_statements_do_not_grow_with_people_or_providers(outbox, app, statements):
    totals = []
    for number, domains in ((6, 1), (60, 20)):
        ids = broadcasts.audience(number, prefix=f"r{number}")
        with transaction():
            db.session.execute(
                text(
                    "update contact set email = 'p' || id || '@d' || (id % :n) || '.example' where id = any(:ids)"
                ),
                {"ids": ids, "n": domains},
            )
            campaign_id = broadcasts.service.create(name="News", item=broadcasts.ITEM)
            broadcasts.service.launch(campaign_id)
        broadcasts.freeze(campaign_id)
        pace(per_minute=1_000, domains={f"d{n}.example": 1 for n in range(domains)})
        batch_id = db.session.scalar(select(Batch.id).where(Batch.campaign_id == campaign_id))
        db.session.commit()
        with statements() as counted, transaction():
            assert claim.claim_batch(batch_id, clinic=app.settings.clinic, public_url=app.settings.public_url)
        totals.append(counted.total)
        with transaction():  # while several broadcasts run, their claims take turns by a statement more
            broadcasts.service.cancel(campaign_id)
    assert totals[0] == totals[1]
    moved = db.session.scalars(select(Message.batch_id).where(Message.campaign_id == campaign_id)).all()
    assert len(set(moved)) > 1
