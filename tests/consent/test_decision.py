"""The consent decision as a rule, as SQL over sets, and replayed for a past time."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from crm.consent import consent_texts, queries, service
from crm.consent.models import ConsentRecord, ConsentState
from crm.consent.replay import verdict_at
from crm.consent.rules import REASON_LABELS, TOPICS, Facts, Reason, confirmation_status, decide, may_ask
from crm.contacts.addresses import address_index
from crm.contacts.models import Contact
from crm.core import clock as time
from crm.core.db import db
from crm.core.errors import NotFound
from tests.conftest import NOW
from tests.consent.factories import person

YES = Facts(now=NOW, granted=True)
LATER = NOW + timedelta(days=1)


@pytest.mark.parametrize(
    ("facts", "reason", "transactional_too"),
    [
        (YES, None, True),
        (replace(YES, erased=True), "erased", True),
        (replace(YES, merged=True), "merged", True),
        (replace(YES, has_address=False), "no_address", True),
        (replace(YES, stopped=True), "stopped", True),
        (replace(YES, suppressed_all=True), "suppressed", True),
        (replace(YES, suppressed_marketing=True), "opted_out", False),
        (replace(YES, granted=None), "no_consent", False),
        (replace(YES, granted=False), "withdrawn", False),
        (replace(YES, same_address=False), "other_address", False),
        (replace(YES, snoozed_until=LATER), "snoozed", False),
        (replace(YES, snoozed_until=NOW), None, True),
    ],
)
def test_each_reason(facts, reason, transactional_too):
    assert decide(facts) == reason
    assert decide(replace(facts, transactional=True)) == (reason if transactional_too else None)


def test_most_serious_reason_wins():
    everything = Facts(
        now=NOW,
        erased=True,
        merged=True,
        has_address=False,
        stopped=True,
        suppressed_all=True,
        suppressed_marketing=True,
        granted=None,
        same_address=False,
        snoozed_until=LATER,
    )
    mend = {
        "erased": {"erased": False},
        "merged": {"merged": False},
        "no_address": {"has_address": True},
        "stopped": {"stopped": False},
        "suppressed": {"suppressed_all": False},
        "opted_out": {"suppressed_marketing": False},
        "no_consent": {"granted": False},
        "withdrawn": {"granted": True},
        "other_address": {"same_address": True},
        "snoozed": {"snoozed_until": None},
    }
    seen = []
    while (reason := decide(everything)) is not None:
        seen.append(reason)
        everything = replace(everything, **mend[reason])
    assert seen == list(Reason) == list(REASON_LABELS)


@pytest.mark.parametrize("reason", [None, *Reason])
def test_may_ask(reason):
    assert may_ask(reason, person_asked=False) == (reason in ("no_consent", "other_address"))
    assert may_ask(reason, person_asked=True) == (
        reason in ("no_consent", "other_address", "opted_out", "withdrawn")
    )


@pytest.mark.parametrize(
    ("expires", "confirmed", "index_now", "expected"),
    [
        (LATER, None, b"a", "open"),
        (NOW, None, b"a", "expired"),
        (LATER, None, b"b", "void"),
        (LATER, None, None, "void"),
        (NOW, NOW, b"b", "answered"),
    ],
)
def test_confirmation_status(expires, confirmed, index_now, expected):
    assert expected == confirmation_status(
        now=NOW, expires_at=expires, confirmed_at=confirmed, address_index=b"a", address_index_now=index_now
    )


# Random lives: real rows made by the real verbs, and an oracle that knows nothing but what was done and when.

ADDRESSES = ["a@example.org", "A+x@example.org", "b@example.org", "b.c@gmail.com", "bc+y@googlemail.com"]
DEEDS = ["yes"] * 5 + [
    "no",
    "stop",
    "undo",
    "bounce",
    "complain",
    "snooze",
    "move",
    "clinical",
    "erase",
    "merge",
]
deeds = st.tuples(
    st.integers(0, 3), st.sampled_from(DEEDS), st.sampled_from(TOPICS[:2]), st.sampled_from(ADDRESSES)
)


def box(email):
    """The mailbox behind an address, worked out the long way."""
    local, domain = email.lower().split("@")
    local = local.split("+")[0]
    if domain in ("gmail.com", "googlemail.com"):
        local, domain = "".join(letter for letter in local if letter != "."), "gmail.com"
    return f"{local}@{domain}"


class Oracle:
    """One flat list of what happened, gone through from its start for every question."""

    def __init__(self):
        self.log = []

    def note(self, what, who=None, **more):
        self.log.append({"at": time.now(), "what": what, "who": who, **more})

    def at(self, moment, *, who=None, what=None):
        return [
            event
            for event in self.log
            if event["at"] <= moment and who in (None, event["who"]) and what in (None, event["what"])
        ]

    def email(self, who, moment):
        return self.at(moment, who=who, what="lives at")[-1]["box"]

    def word(self, who, topic, moment):
        """The newest (place in the log, yes or no, mailbox) on a topic, or None."""
        said = [
            (place, event["yes"], event["box"])
            for place, event in enumerate(self.log)
            if event["what"] == "word"
            and (event["who"], event["topic"]) == (who, topic)
            and event["at"] <= moment
        ]
        return said[-1] if said else None

    def blocked(self, mailbox, moment):
        blocks = [event for event in self.at(moment) if event["what"] in ("block", "unblock")]
        return [event["what"] for event in blocks if event["box"] == mailbox][-1:] == ["block"]

    def why_not(self, who, topic, moment, *, transactional=False):
        for end in ("erased", "merged", "stopped"):
            if self.at(moment, who=who, what=end):
                return end
        mailbox = self.email(who, moment)
        if any(event["box"] == mailbox for event in self.at(moment, what="dead")):
            return "suppressed"
        if transactional:
            return None
        if self.blocked(mailbox, moment):
            return "opted_out"
        word = self.word(who, topic, moment)
        if word is None:
            return "no_consent"
        if not word[1]:
            return "withdrawn"
        if word[2] != mailbox:
            return "other_address"
        pauses = self.at(moment, who=who, what="snooze")
        return "snoozed" if pauses and pauses[-1]["until"] > moment else None

    def gets(self, who):
        words = {topic: self.word(who, topic, time.now()) for topic in TOPICS}
        return {topic: word[2] for topic, word in words.items() if word and word[1]}


class World:
    """Does a deed for real, and tells the oracle what ought to come of it."""

    def __init__(self, emails, clock):
        self.oracle, self.clock, self.ids, self.moved = Oracle(), clock, [], set()
        clock.move_to(NOW)
        for email in emails:
            self.ids.append(person(email).id)
            self.oracle.note("lives at", self.ids[-1], box=box(email))

    def live(self, index, deed, topic, email):
        self.clock.shift(timedelta(hours=25))
        who = self.ids[index % len(self.ids)]
        if self.oracle.at(time.now(), who=who, what="erased") or self.oracle.at(
            time.now(), who=who, what="merged"
        ):
            return
        contact = db.session.get(Contact, who)
        getattr(self, deed)(who, contact, topic=topic, email=email)
        db.session.flush()

    def yes(self, who, contact, *, topic, email):
        worth = self.oracle.why_not(who, topic, time.now()) in (
            "no_consent",
            "other_address",
            "opted_out",
            "withdrawn",
        )
        question = service.request_confirmation(
            contact=contact,
            topics=[topic],
            kind="confirmation",
            wording=consent_texts.current("contact-form", "en"),
            language="en",
            source="form",
        )
        assert (question is not None) == worth
        if question is None:
            return
        service.confirm(confirmation_id=question.id)
        mailbox = self.oracle.email(who, time.now())
        if self.oracle.blocked(mailbox, time.now()):
            self.oracle.note("unblock", box=mailbox)
            for other in self.ids:
                alive = not self.oracle.at(time.now(), who=other, what="erased")
                if alive and self.oracle.email(other, time.now()) == mailbox:
                    self._end(other, self.oracle.gets(other))
        self.oracle.note("word", who, topic=topic, yes=True, box=mailbox)

    def _end(self, who, topics):
        for topic, mailbox in dict(topics).items():
            self.oracle.note("word", who, topic=topic, yes=False, box=mailbox)

    def no(self, who, contact, *, topic, email):
        service.withdraw(contact_id=who, topic=topic, source="preferences")
        self._end(who, {name: mailbox for name, mailbox in self.oracle.gets(who).items() if name == topic})

    def stop(self, who, contact, *, topic, email):
        service.withdraw(contact_id=who, topic=None, source="one_click")
        self._end(who, self.oracle.gets(who))
        self.oracle.note("block", box=self.oracle.email(who, time.now()))

    def undo(self, who, contact, *, topic, email):
        had, mailbox = self.oracle.gets(who), self.oracle.email(who, time.now())
        was_blocked = self.oracle.blocked(mailbox, time.now())
        self.stop(who, contact, topic=topic, email=email)
        self.clock.shift(timedelta(minutes=10))
        assert service.undo_withdraw(contact_id=who) == (bool(had) or not was_blocked)
        for name, home in had.items():
            self.oracle.note("word", who, topic=name, yes=True, box=home)
        if not was_blocked:
            self.oracle.note("unblock", box=mailbox)

    def bounce(self, who, contact, *, topic, email):
        service.suppress(address_index=contact.email_index, scope="all", reason="bounced", source="event")
        self.oracle.note("dead", box=self.oracle.email(who, time.now()))

    def complain(self, who, contact, *, topic, email):
        service.suppress(
            address_index=contact.email_index, scope="marketing", reason="complained", source="event"
        )
        self.oracle.note("block", box=self.oracle.email(who, time.now()))

    def snooze(self, who, contact, *, topic, email):
        until = time.now() + timedelta(days=3)
        service.snooze(contact_id=who, until=until)
        self.oracle.note("snooze", who, until=until)

    def move(self, who, contact, *, topic, email):
        contact.email, contact.email_index = email, address_index(email)
        self.moved.add(who)
        self.oracle.note("lives at", who, box=box(email))

    def clinical(self, who, contact, *, topic, email):
        contact.stop_reason, contact.stopped_at = "clinical", contact.stopped_at or time.now()
        self.oracle.note("stopped", who)

    def erase(self, who, contact, *, topic, email):
        contact.email = contact.email_index = None
        contact.erased_at = time.now()
        self.oracle.note("erased", who)

    def merge(self, who, contact, *, topic, email):
        ends = [event["who"] for event in self.oracle.log if event["what"] in ("erased", "merged")]
        into = next((other for other in self.ids if other != who and other not in ends), None)
        if into is None:
            return
        contact.merged_into_id = into
        db.session.flush()
        service.merge_consent(from_id=who, into_id=into)
        mailbox = self.oracle.email(into, time.now())
        for name in TOPICS:
            theirs, its = self.oracle.word(who, name, time.now()), self.oracle.word(into, name, time.now())
            newer = theirs and (its is None or theirs[0] > its[0])
            if newer and (not theirs[1] or theirs[2] == mailbox):
                self.oracle.note("word", into, topic=name, yes=theirs[1], box=theirs[2])
        self.oracle.note("merged", who)


def by_sql(ids, topic, *, transactional):
    """The verdict on everybody, in one statement, as the engine asks for it."""
    rows = db.session.execute(
        text(
            f"select c.id, {queries.REFUSAL_CASE}, {queries.EVIDENCE} from contact c {queries.REFUSAL_JOINS} "
            "where c.id = any(:ids)"
        ),
        {"ids": ids, "topic": topic, "transactional": transactional, "now": time.now()},
    ).all()
    assert len(rows) == len(ids)  # nobody twice
    return {row[0]: row[1:] for row in rows}


def by_rule(contact_id, topic, *, transactional):
    """The verdict on one person, from facts picked up one by one."""
    contact = db.session.get(Contact, contact_id)
    state = db.session.get(ConsentState, (contact_id, topic))
    scopes = (
        [stop.scope for stop in queries.suppressions_of(contact_id) if stop.lifted_at is None]
        if contact.email
        else []
    )
    return decide(
        Facts(
            now=time.now(),
            transactional=transactional,
            erased=contact.erased_at is not None,
            merged=contact.merged_into_id is not None,
            has_address=contact.email is not None,
            stopped=contact.stop_reason is not None,
            suppressed_all="all" in scopes,
            suppressed_marketing="marketing" in scopes,
            granted=state.granted if state else None,
            same_address=state is None or state.address_index == contact.email_index,
            snoozed_until=contact.snooze_until,
        )
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    emails=st.lists(st.sampled_from(ADDRESSES), min_size=2, max_size=4),
    story=st.lists(deeds, min_size=6, max_size=24),
)
def test_sql_rule_replay_and_oracle_agree(edge, clock, emails, story):
    savepoint = db.session.begin_nested()
    try:
        world = World(emails, clock)
        moments = [time.now()]
        for deed in story:
            world.live(*deed)
            moments.append(time.now())
        _agree_now(world)
        _agree_on_the_past(world, moments)
    finally:
        savepoint.rollback()
        db.session.expire_all()


def _agree_now(world):
    for topic in TOPICS[:2]:
        for transactional in (False, True):
            verdicts = by_sql(world.ids, topic, transactional=transactional)
            for who, (verdict, record_id) in verdicts.items():
                expected = world.oracle.why_not(who, topic, time.now(), transactional=transactional)
                if expected == "merged" or world.oracle.at(time.now(), who=who, what="merged"):
                    expected = (
                        "merged" if not world.oracle.at(time.now(), who=who, what="erased") else "erased"
                    )
                assert verdict == expected == by_rule(who, topic, transactional=transactional)
                if verdict is None and not transactional:
                    assert db.session.get(ConsentRecord, record_id).action == "granted"


def _agree_on_the_past(world, moments):
    for who in world.ids:
        known = db.session.scalar(
            select(ConsentRecord.id)
            .where(ConsentRecord.contact_id == who, ConsentRecord.action.not_in(("withdrawn", "merged")))
            .limit(1)
        )
        if who in world.moved or (known is None and world.oracle.at(time.now(), who=who, what="erased")):
            continue  # evidence does not say when a person moved, nor where the silent once lived
        for moment in moments:
            verdict = verdict_at(who, TOPICS[0], moment)
            assert verdict.reason == world.oracle.why_not(who, TOPICS[0], moment)
            assert (verdict.reason is None) <= (verdict.record_id is not None)


def test_verdict_names_its_evidence(edge, clock):
    jane = person()
    service.set_topics(contact_id=jane.id, topics=[TOPICS[0]], language="en")
    record_id = db.session.get(ConsentState, (jane.id, TOPICS[0])).record_id
    clock.shift(60)
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    stop = queries.suppressions_of(jane.id)[0]
    before, after = verdict_at(jane.id, TOPICS[0], NOW), verdict_at(jane.id, TOPICS[0], time.now())
    assert (before.reason, before.record_id, before.stop_ids) == (None, record_id, ())
    assert (after.reason, after.record_id, after.stop_ids) == ("opted_out", record_id + 1, (stop.id,))
    assert verdict_at(jane.id, TOPICS[0], NOW - timedelta(seconds=1)).reason == "no_consent"


def test_verdict_on_unknown_contact(edge):
    with pytest.raises(NotFound):
        verdict_at(404, TOPICS[0], NOW)
    assert queries.refusal(contact_id=404, topic=None, transactional=True, now=NOW) == "erased"


def test_verdicts_use_indexes(edge):
    """The plan for a batch must not read a whole table, however large it has grown."""
    db.session.execute(
        text("""
            with made as (
                insert into contact (created_at, first_name, last_name, email, email_index, time_zone)
                select :now, 'A', 'B', n || '@example.org', sha256(cast(n || '' as bytea)), 'UTC'
                from generate_series(1, 6000) n returning id, email_index
            ), evidence as (
                insert into consent_record (contact_id, address_index, topic, action, language, source, actor, at)
                select id, email_index, 'prospect_edu', 'granted', 'en', 'form', 'public', :now from made
                returning id, contact_id, address_index
            ), stopped as (
                insert into suppression (address_index, scope, reason, source, at)
                select email_index, 'marketing', 'opted_out', 'one_click', :now from made where id % 4 = 0
            )
            insert into consent_state (contact_id, topic, granted, record_id, address_index, at)
            select contact_id, 'prospect_edu', true, id, address_index, :now from evidence
        """),
        {"now": NOW},
    )
    for table in ("contact", "consent_state", "suppression"):
        db.session.execute(text(f"analyze {table}"))
    ids = db.session.scalars(text("select id from contact where id % 40 = 0 limit 150")).all()
    plan = db.session.execute(
        text(
            f"explain (format text) select c.id, {queries.REFUSAL_CASE} from contact c {queries.REFUSAL_JOINS} "
            "where c.id = any(:ids)"
        ),
        {"ids": ids, "topic": "prospect_edu", "transactional": False, "now": NOW},
    ).scalars()
    steps = "\n".join(plan)
    assert "Seq Scan" not in steps, steps
