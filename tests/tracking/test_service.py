"""Events stored at once and applied soon: suppressions, exits, and one final state whatever the order."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from crm.consent.models import Suppression
from crm.core.db import db, transaction
from crm.mailer import EventKind
from crm.messages.models import Message
from crm.sequences.models import Enrolment
from crm.tracking import rules, service
from crm.tracking.models import ProviderEvent, Receipt

STAMP = 1_772_557_200


def event(number: int, name: str, message_id: int | None, email: str, **fields) -> dict:
    made = {"sg_event_id": f"e{number}", "event": name, "timestamp": STAMP + number, "email": email, **fields}
    return made | ({"pp_msg": str(message_id)} if message_id else {})


def post(*events: dict) -> int:
    with transaction():
        receipt = service.store(json.dumps(list(events)).encode())
    with transaction():
        return service.apply(receipt)


def state(message_id: int) -> str | None:
    db.session.expire_all()
    return db.session.scalar(select(Message.state).where(Message.id == message_id))


@pytest.mark.parametrize(
    ("name", "fields", "scope", "exited", "shows"),
    [
        ("delivered", {}, None, False, "delivered"),
        ("deferred", {}, None, False, "deferred"),
        ("bounce", {"type": "bounce"}, "all", True, "bounced"),
        ("bounce", {"type": "blocked"}, None, False, "blocked"),
        ("spamreport", {}, "all", True, "complained"),
        ("unsubscribe", {}, "marketing", True, "unsubscribed"),
        ("group_unsubscribe", {}, "marketing", True, "unsubscribed"),
        ("dropped", {"reason": "Bounced Address"}, "all", True, "bounced"),
        ("dropped", {"reason": "Unsubscribed Address"}, "marketing", True, "unsubscribed"),
        ("dropped", {"reason": "Spam Reporting Address"}, "all", True, "complained"),
        ("dropped", {"reason": "Invalid"}, None, False, "dropped"),
        ("open", {}, None, False, None),
    ],
)
def test_what_an_event_does(sent, name, fields, scope, exited, shows):
    contact_id, message_id, email = sent[0]
    assert post(event(1, name, message_id, email, **fields)) == 1
    assert state(message_id) == shows
    assert db.session.scalar(select(Suppression.scope)) == scope
    ended = db.session.scalar(select(Enrolment.state).where(Enrolment.contact_id == contact_id))
    assert (ended == "exited") is exited


def test_a_late_bounce_without_our_id_finds_the_address(sent):
    contact_id, _, email = sent[0]
    post(event(1, "bounce", None, email.upper()))
    assert db.session.scalar(select(Enrolment.state).where(Enrolment.contact_id == contact_id)) == "exited"


def test_an_address_that_refuses_three_times_is_stopped(sent, clock):
    _contact_id, message_id, email = sent[0]
    batch_id = db.session.scalar(select(Message.batch_id).where(Message.id == message_id))
    with transaction():
        for _ in range(2):
            db.session.execute(
                text(
                    "insert into message (batch_id, contact_id, content_version_id, created_at) "
                    "select batch_id, contact_id, content_version_id, created_at from message where id = :id"
                ),
                {"id": message_id},
            )
    ids = db.session.scalars(select(Message.id).where(Message.batch_id == batch_id)).all()
    now = int(clock.time()) if hasattr(clock, "time") else STAMP
    for number, one in enumerate(ids[:2]):
        post(event(number, "bounce", one, email, type="blocked", timestamp=now))
    assert db.session.scalar(select(Suppression.reason)) is None
    post(event(9, "bounce", ids[2], email, type="blocked", timestamp=now))
    assert db.session.scalar(select(Suppression.reason)) == "soft_bounces"


def test_told_twice_counts_once(sent):
    _, message_id, email = sent[0]
    assert post(event(1, "delivered", message_id, email), event(1, "delivered", message_id, email)) == 1
    assert post(event(1, "delivered", message_id, email)) == 0
    assert db.session.query(ProviderEvent).count() == 1


@pytest.mark.parametrize(
    "body",
    [b"{}", b"nonsense", b'[{"sg_event_id": "x", "timestamp": 1, "event": "bounce", "email": "nobody"}]'],
)
def test_an_unreadable_post_is_stored_without_effect(sent, body):
    with transaction():
        receipt = service.store(body)
    with transaction():
        service.apply(receipt)
    db.session.expire_all()
    assert db.session.get(Receipt, receipt).applied_at is not None
    assert db.session.query(Suppression).count() == 0


def test_the_sweep_finds_what_redis_forgot(sent, asked, redis):
    _, message_id, email = sent[0]
    with transaction():
        receipt = service.store(json.dumps([event(1, "delivered", message_id, email)]).encode())
    redis.flushdb()
    with transaction():
        assert service.run_sweep() == 1
    assert asked() == [("tracking.apply", receipt)]


NAMES = st.sampled_from(
    ["processed", "deferred", "delivered", "bounce", "blocked", "dropped", "spamreport", "unsubscribe"]
)


OURS = {"spamreport": "complained", "bounce": "bounced", "unsubscribe": "unsubscribed"}


def build(kinds: list[tuple[str, int]], sent: list[tuple[int, int, str]]) -> list[dict]:
    made = []
    for number, (name, person) in enumerate(kinds):
        _, message_id, email = sent[person]
        fields = {"type": "blocked"} if name == "blocked" else {}
        made.append(event(number, "bounce" if name == "blocked" else name, message_id, email, **fields))
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.tuples(NAMES, st.integers(0, 2)), min_size=1, max_size=8),
    data=st.data(),
)
def test_any_order_of_events_ends_the_same(sent, kinds, data):
    """Play the same events in a drawn order with repetitions in posts of drawn sizes; compare with the pure rule."""
    made = build(kinds, sent)
    played = data.draw(st.permutations(made + data.draw(st.lists(st.sampled_from(made), max_size=4))))
    cut = data.draw(st.integers(0, len(played)))
    try:
        for part in (played[:cut], played[cut:]):
            service.apply(service.store_only(json.dumps(part).encode()))
        for person, (_, message_id, _) in enumerate(sent):
            assert state(message_id) == rules.worst_state(
                [EventKind(OURS.get(name, name)) for name, who in kinds if who == person]
            )
        stopped = {
            sent[person][0] for name, person in kinds if name in ("bounce", "spamreport", "unsubscribe")
        }
        assert (
            set(db.session.scalars(select(Enrolment.contact_id).where(Enrolment.state == "exited")))
            == stopped
        )
    finally:
        db.session.rollback()
