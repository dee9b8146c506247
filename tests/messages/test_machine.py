"""Any interleaving of two workers, a sweep, deaths and answers, against a simple model of what may leave.

Hypothesis runs claims, calls, crashes between them, late records, sweeps and staff decisions in random order. The
transport counts the copies: a message is sent once, and a second time only after staff chose "send again" for an
unconfirmed batch. A second test removes one guard at a time and requires that a second copy is found.
"""

from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text

from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.mailer import Fate, Outcome
from crm.messages import rules, service
from crm.messages.engine import claim, record, sweep
from crm.messages.engine.deliver import NOT_CALLED
from crm.messages.limits import switches
from crm.messages.models import Batch, Message
from crm.sequences import planner
from tests.messages.conftest import forget_outside_mark
from tests.support import factories as support_factories

# The dangerous ones more often: what the provider did take.
FATES = st.sampled_from([Fate.ACCEPTED] * 5 + [Fate.UNKNOWN] * 4 + list(Fate))


def reachable(state: rules.BatchState) -> set[rules.BatchState]:
    """Return the states that a batch may reach from `state` in any number of moves."""
    found, ahead = {state}, [state]
    while ahead:
        old = ahead.pop()
        for new in (rules.BATCH_MOVES[old] | rules.MOVES_WITHOUT_CALL.get(old, frozenset())) - found:
            found.add(new)
            ahead.append(new)
    return found


class Engine(RuleBasedStateMachine):
    """The real engine on a real database, rolled back after each run; `gone` is the whole model."""

    app: Any = None
    outbox: Any = None
    clock: Any = None
    kinds: tuple[str, ...] = ("sequence",)

    def __init__(self) -> None:
        super().__init__()
        connection: Any = db.engines[None]  # the one that is rolled back; see the fixture `database`
        self.savepoint = connection.begin_nested()
        forget_outside_mark(self.app)
        self.outbox.sent.clear()
        self.outbox.answers.clear()
        self.people = 0
        self.gone: set[int] = set()  # messages that left, until a person says "send again"
        self.dawdling: list[tuple[claim.Attempt, datetime]] = []
        self.treated: set[int] = set()  # batches that a person called sent
        self.seen: dict[int, rules.BatchState] = {}  # each batch's state after the last step

    def teardown(self) -> None:
        db.session.remove()
        self.savepoint.rollback()

    @precondition(lambda self: self.people < 4)
    @rule(language=st.sampled_from(["en", "es"]))
    def somebody_is_due(self, language: str) -> None:
        self.people += 1
        with transaction():
            who = support_factories.contact(email=f"p{self.people}@patients.example", language=language)
            support_factories.opted_in(who)
            db.session.execute(
                text("update batch set state = 'cancelled' where kind = 'transactional' and state = 'ready'")
            )
        with transaction():
            planner.plan_due()

    @precondition(lambda self: self.people)
    @rule(
        which=st.integers(0, 9),
        ending=st.sampled_from(["dies called", "dies called", "records", "dawdles", "dies claimed"]),
        fate=FATES,
    )
    def work(self, which: int, ending: str, fate: Fate) -> None:
        """A worker takes a batch and gets as far as `ending` says; one that dawdles goes on some time later."""
        ready = self.batches("ready") or self.batches("sending")
        if not ready:
            return
        given = {"clinic": self.app.settings.clinic, "public_url": self.app.settings.public_url}
        with transaction():  # one of a pair that was asked for the same batch, or for whatever is next
            attempt = (
                claim.claim_batch(ready[which // 2 % len(ready)], **given)
                if which % 2
                else claim.claim_next_batch(**given)
            )
        if not isinstance(attempt, claim.Attempt):
            return
        self.judge(attempt)
        if ending == "dies claimed":
            return
        if ending == "dawdles":
            self.dawdling.append((attempt, clocks.now()))
        else:
            self.call(attempt, fate, recorded=ending == "records")

    def judge(self, attempt: claim.Attempt) -> None:
        """Say whether what was claimed may leave; see the machine of gates."""

    @precondition(lambda self: self.dawdling)
    @rule(fate=FATES, recorded=st.booleans())
    def goes_on(self, fate: Fate, *, recorded: bool) -> None:
        attempt, since = self.dawdling.pop(0)
        if clocks.now() - since <= rules.LEASE / 2:
            self.call(attempt, fate, recorded=recorded)
        elif recorded:  # it notices that it slept, makes no call and says so
            with transaction():
                record.apply_outcome(attempt, NOT_CALLED)

    def call(self, attempt: claim.Attempt, fate: Fate, *, recorded: bool) -> None:
        self.outbox.answers.append(
            Outcome(fate=fate, refused=(0,) if fate is Fate.REFUSED_SOME else (), error="x")
        )
        before = len(self.outbox.sent)
        outcome = attempt.call.post()
        for _, people in self.outbox.sent[before:]:
            leaving = {recipient.message_id for recipient in people}
            assert not leaving & self.gone, "a second copy left"
            self.gone |= leaving
        if recorded:
            with transaction():
                record.apply_outcome(attempt, outcome)

    @rule(
        seconds=st.sampled_from([1, 61]),
        decision=st.sampled_from(["none", "none", "send again", "treat as sent"]),
    )
    def later(self, seconds: int, decision: str) -> None:
        """Time passes, the sweep looks, and a person may decide about what is unconfirmed."""
        self.clock.shift(timedelta(seconds=seconds))
        with transaction():
            sweep.run_sweep(production=False)
            self.maintain()
        doubtful = self.batches("uncertain")
        if doubtful and decision != "none":
            with transaction():
                service.decide(doubtful, send_again=decision == "send again")
            if decision == "send again":
                again = select(Message.id).where(Message.batch_id.in_(doubtful))
                self.gone -= set(db.session.scalars(again))
            else:
                self.treated.update(doubtful)

    def maintain(self) -> None:
        """Resume sending, which a refused key stops."""
        switches.release(by="staff:1")

    def batches(self, state: str) -> list[int]:
        found = list(
            db.session.scalars(
                select(Batch.id)
                .where(Batch.state == state, Batch.kind.in_(self.kinds), Batch.not_before <= clocks.now())
                .order_by(Batch.id)
            )
        )
        db.session.rollback()
        return found

    @invariant()
    def what_counts_as_sent_has_left(self) -> None:
        left = {recipient.message_id for _, people in self.outbox.sent for recipient in people}
        counted = db.session.execute(
            select(Message.id, Message.batch_id)
            .join(Batch, Batch.id == Message.batch_id)
            .where(Batch.kind.in_(self.kinds), Batch.state == "accepted", Message.state.is_(None))
        ).all()
        db.session.rollback()
        assert all(message in left or batch in self.treated for message, batch in counted)

    @invariant()
    def moves_are_in_the_table(self) -> None:
        """The trigger refuses a move that is not in the table, see `test_moves`; here, what it let through is in it."""
        now = dict(db.session.execute(select(Batch.id, Batch.state).where(Batch.kind.in_(self.kinds))).all())
        db.session.rollback()
        assert set(now.values()) <= set(rules.BatchState)
        for batch, state in now.items():
            assert state in reachable(self.seen.get(batch, rules.BatchState.READY))
        self.seen = now


PLAYED = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking on a real database takes too long
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def test_any_interleaving(outbox, app, clock):
    Engine.app, Engine.outbox, Engine.clock = app, outbox, clock
    run_state_machine_as_test(
        Engine,
        settings=settings(
            PLAYED,
            max_examples=12,
            stateful_step_count=30,
        ),
    )


def _sleeps_while_another_sends(engine: Engine) -> None:
    """One takes a batch and sleeps; a person sends it again; another sends and dies; the sleeper wakes and speaks."""
    engine.work(which=1, ending="dawdles", fate=Fate.ACCEPTED)
    engine.later(seconds=61, decision="send again")
    engine.work(which=1, ending="dies called", fate=Fate.ACCEPTED)
    engine.goes_on(fate=Fate.ACCEPTED, recorded=True)
    engine.later(seconds=30, decision="none")


def _dies_after_the_call(engine: Engine) -> None:
    engine.work(which=1, ending="dies called", fate=Fate.ACCEPTED)


def _dies_and_is_swept(engine: Engine) -> None:
    engine.work(which=1, ending="dies called", fate=Fate.ACCEPTED)
    engine.later(seconds=61, decision="none")


# What stands in the way of a second copy, how to take it down, and what then leads to one.
FENCES = {
    "whose attempt it is": (record, "_SETTLE", "and attempt = :attempt", "", _sleeps_while_another_sends),
    "taken by one alone": (
        claim,
        "_CLAIM_ONE",
        "state = 'ready'",
        "state in ('ready', 'sending')",
        _dies_after_the_call,
    ),
    "uncertain, not ready": (sweep, "_EXPIRED", "'uncertain'", "'ready'", _dies_and_is_swept),
}


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("fence", FENCES)
def test_each_fence_is_what_stands_in_the_way(outbox, app, clock, monkeypatch, fence, down):
    module, name, standing, instead, story = FENCES[fence]
    statement = str(getattr(module, name))
    assert standing in statement
    if down:
        monkeypatch.setattr(module, name, text(statement.replace(standing, instead)))
    Engine.app, Engine.outbox, Engine.clock = app, outbox, clock
    engine = Engine()
    try:
        engine.somebody_is_due(language="en")
        story(engine)
        with pytest.raises(AssertionError, match="a second copy left") if down else nullcontext():
            engine.work(which=1, ending="records", fate=Fate.ACCEPTED)
        engine.what_counts_as_sent_has_left()
    finally:
        engine.teardown()
