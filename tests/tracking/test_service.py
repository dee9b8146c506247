"""Events stored at once and applied soon: suppressions, exits, and one final state whatever the order."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from crm.consent import suppressions
from crm.consent.models import Suppression
from crm.contacts import queries
from crm.contacts.addresses import address_index
from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.core.field_keys import CannotDecrypt
from crm.desk import timeline_labels
from crm.mailer import EventKind
from crm.messages import reason_labels
from crm.messages.models import Message
from crm.sequences.models import Enrolment
from crm.staff.models import Alert
from crm.tracking import rules, service
from crm.tracking.models import ProviderEvent, Receipt
from jobs import tracking as jobs

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
        ("dropped", {"reason": "Bounced Address"}, "all", True, "dropped"),
        ("dropped", {"reason": "Unsubscribed Address"}, "marketing", True, "dropped"),
        ("dropped", {"reason": "Spam Reporting Address"}, "all", True, "dropped"),
        ("dropped", {"reason": "Invalid"}, "all", True, "dropped"),
        ("dropped", {"reason": "Invalid SMTPAPI header"}, None, False, "dropped"),
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


@pytest.mark.parametrize(
    ("listed", "reason", "words"),
    [
        ("Spam Reporting Address", "complained", "SendGrid had this address on its spam-report list"),
        ("Bounced Address", "bounced", "SendGrid had this address on its bounce list"),
        ("Unsubscribed Address", "unsubscribed", "SendGrid had this address on its unsubscribe list"),
        ("Invalid", "invalid", "SendGrid had this address on its list of invalid addresses"),
    ],
)
def test_a_drop_is_no_event_of_this_mail(sent, listed, reason, words):
    contact_id, message_id, email = sent[0]
    post(event(1, "dropped", message_id, email, reason=listed))
    assert db.session.execute(select(Suppression.reason, Suppression.message_id)).one() == (reason, None)
    assert db.session.scalar(select(ProviderEvent.kind)) == "dropped"
    message = db.session.get(Message, message_id)
    assert reason_labels.reason(message.reason) == words
    [line] = [
        line
        for line in queries.timeline(contact_id=contact_id, limit=20).rows
        if line.source == "mail" and line.id == message_id
    ]
    entry = timeline_labels.label_entry(line, names={}, clinical=False)
    assert entry.title.startswith("Email not sent")
    assert entry.why == f"reason: {words}"


@pytest.mark.parametrize("name", ["spamreport", "bounce", "unsubscribe", "group_unsubscribe"])
@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": str(STAMP)},
        {"timestamp": STAMP * 1000},
        {"timestamp": "soon"},
        {"timestamp": 10**17},
        {"timestamp": None},
        {"sg_event_id": None},
        {"sg_event_id": 17},
        {"email": None},
        {"email": "nobody"},
        {"email": "Ana <ana@patients.example>"},
        {"email": "an\ud800a"},
        {"pp_msg": None},
        {"pp_msg": 99_999_999},
    ],
    ids=str,
)
def test_an_odd_event_still_suppresses(sent, name, fields):
    contact_id, message_id, email = sent[0]
    odd = event(1, name, message_id, email) | fields
    post(odd)
    post(odd)
    assert db.session.scalar(select(Suppression.address_index)) == address_index(email)
    assert db.session.scalar(select(Enrolment.state).where(Enrolment.contact_id == contact_id)) == "exited"
    assert db.session.query(ProviderEvent).count() == 1


def test_an_event_about_nobody_is_counted(sent):
    post(event(1, "bounce", None, "nobody"), event(2, "bounce", 99_999_999, ""))
    assert db.session.query(Suppression).count() == 0
    assert db.session.scalar(select(Receipt.unclear)) == {"no_address": 2}
    assert db.session.scalar(select(Alert.level).where(Alert.key == "events-unclear")) == "warning"


def test_an_event_of_another_installation_is_not_about_our_message(sent):
    _, message_id, _ = sent[0]
    batch_id = db.session.scalar(select(Message.batch_id).where(Message.id == message_id))
    with transaction():
        db.session.execute(text("update batch set provider_id = 'ours' where id = :id"), {"id": batch_id})
    post(event(1, "spamreport", message_id, "zoe@elsewhere.example", sg_message_id="theirs.recvd-1"))
    assert state(message_id) is None
    assert db.session.scalar(select(ProviderEvent.message_id)) is None
    assert db.session.scalar(select(Suppression.address_index)) == address_index("zoe@elsewhere.example")
    post(event(2, "spamreport", message_id, "new@patients.example", sg_message_id="ours.recvd-1"))
    assert state(message_id) == "complained"


def test_a_bounce_of_an_old_address_leaves_the_person_alone(sent):
    contact_id, message_id, _ = sent[0]
    post(event(1, "bounce", message_id, "old@patients.example"))
    assert db.session.scalar(select(Enrolment.state).where(Enrolment.contact_id == contact_id)) != "exited"
    post(event(2, "spamreport", message_id, "old2@patients.example"))
    assert db.session.scalar(select(Enrolment.state).where(Enrolment.contact_id == contact_id)) == "exited"


def test_refusals_count_per_address(sent, clock):
    _, message_id, email = sent[0]
    now = int(clocks.now().timestamp())
    for number in range(2):
        post(event(number, "bounce", None, "old@patients.example", type="blocked", timestamp=now))
    post(event(2, "bounce", message_id, email, type="blocked", timestamp=now))
    assert db.session.query(Suppression).count() == 0
    post(event(3, "bounce", None, "old@patients.example", type="blocked", timestamp=now))
    assert list(db.session.scalars(select(Suppression.address_index))) == [
        address_index("old@patients.example")
    ]


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


def test_a_receipt_is_kept_encrypted(sent):
    _, message_id, email = sent[0]
    body = json.dumps([event(1, "delivered", message_id, email)]).encode()
    with transaction():
        receipt = service.store(body)
    assert email.encode() not in db.session.get(Receipt, receipt).body
    with transaction():  # one of an older release is not encrypted
        old = db.session.execute(
            text("insert into webhook_receipt (received_at, body) values (:now, :body) returning id"),
            {"now": clocks.now(), "body": body},
        ).scalar_one()
    with transaction():
        assert (service.apply(receipt), service.apply(old)) == (1, 0)
    assert db.session.query(ProviderEvent).count() == 1


def test_an_event_that_cannot_be_applied_keeps_back_no_other(sent, monkeypatch):
    (_, one, ana), (_, two, ben), _ = sent
    suppress_many = suppressions.suppress_many

    def refuse(stops):
        wanted = list(stops)
        if any(stop.address_index == address_index(ana) for stop in wanted):
            raise ZeroDivisionError
        return suppress_many(wanted)

    monkeypatch.setattr(suppressions, "suppress_many", refuse)
    with transaction():
        receipt = service.store(
            json.dumps([event(1, "bounce", one, ana), event(2, "bounce", two, ben)]).encode()
        )
    with pytest.raises(ZeroDivisionError):
        jobs.apply(receipt)
    assert db.session.query(ProviderEvent).count() == 0
    jobs.apply(receipt)
    assert list(db.session.scalars(select(Suppression.address_index))) == [address_index(ben)]
    assert db.session.scalar(select(Receipt.unclear)) == {"not_applied": 1}


def test_a_post_that_fails_three_times_is_set_aside(sent, queued_jobs, redis):
    _, message_id, email = sent[0]
    with transaction():
        bad = db.session.execute(
            text(
                "insert into webhook_receipt (received_at, body, sealed) values (:now, 'x', true) returning id"
            ),
            {"now": clocks.now()},
        ).scalar_one()
        good = service.store_only(json.dumps([event(1, "delivered", message_id, email)]).encode())
    for _ in range(3):
        with pytest.raises(CannotDecrypt):
            jobs.apply(bad)
    redis.flushdb()
    with transaction():
        assert service.run_sweep() == 1
    assert queued_jobs() == [("tracking.apply", good)]
    key = f"events-failed:{bad}"
    assert (
        db.session.scalar(select(Alert.level).where(Alert.key == key, Alert.closed_at.is_(None))) == "danger"
    )
    with transaction():
        assert service.retry_failed() == 1
        assert service.run_sweep() == 2
    assert db.session.scalar(select(Alert.id).where(Alert.key == key, Alert.closed_at.is_(None))) is None


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


def test_the_sweep_finds_what_redis_forgot(sent, queued_jobs, redis):
    _, message_id, email = sent[0]
    with transaction():
        receipt = service.store(json.dumps([event(1, "delivered", message_id, email)]).encode())
    redis.flushdb()
    with transaction():
        assert service.run_sweep() == 1
    assert queued_jobs() == [("tracking.apply", receipt)]


NAMES = st.sampled_from(
    ["processed", "deferred", "delivered", "bounce", "blocked", "dropped", "spamreport", "unsubscribe"]
)


BROKEN = (
    *(
        b"1",
        b"{}",
        b'{"event": "bo',
        b'{"x": NaN}',
        b'{"x": "\\ud800"}',
        b'{"x": "a\nb"}',
        b'{"x": "\xff"}',
        b"nonsense",
    ),
    b'{"x": %s}' % (b"9" * 5_000),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.tuples(NAMES, st.integers(0, 2)), min_size=1, max_size=6),
    broken=st.lists(st.sampled_from(BROKEN), max_size=5),
    data=st.data(),
)
def test_every_sound_event_is_applied_once(sent, kinds, broken, data):
    """Mix sound and broken items in a drawn order, repeat the post, once all at once and once event by event."""
    made = [json.dumps(one).encode() for one in build(kinds, sent)]
    body = b"[" + b",\r\n".join(data.draw(st.permutations([*made, *broken]))) + b"]"
    try:
        first, again = service.store_only(body), service.store_only(body)
        db.session.execute(
            text("update webhook_receipt set failures = 1 where id = :id"),
            {"id": data.draw(st.sampled_from([first, again]))},
        )
        assert (service.apply(first), service.apply(again)) == (len(made), 0)
        assert db.session.query(ProviderEvent).count() == len(made)
        unclear = db.session.scalars(select(Receipt.unclear)).all()
        assert [bool(found) for found in unclear] == [bool(broken)] * 2
    finally:
        db.session.rollback()


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
