"""Any interleaving of two workers, a sweep, deaths and answers, against a simple model of what may leave.

The machine plays claims, calls, deaths between them, late records, sweeps and decisions in any order hypothesis can
think of. The judge is the transport: a message leaves at most once, and once more only for each time a person said
"send again" about a batch in doubt.
"""

from collections import Counter
from datetime import datetime, timedelta

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

from crm import clock as clocks
from crm.db import db, transaction
from crm.mailer import Fate, Outcome
from crm.messages import claim, control, record, rules, service, sweep
from crm.messages.models import Batch, Message
from crm.sequences import planner
from tests import makers

# The dangerous ones more often: what the provider did take.
FATES = st.sampled_from([Fate.ACCEPTED] * 5 + [Fate.UNKNOWN] * 4 + list(Fate))


class Engine(RuleBasedStateMachine):
    """The real engine on a real database, rolled back after each run; `allowed` is the whole model."""

    app = outbox = clock = None

    def __init__(self) -> None:
        super().__init__()
        self.savepoint = db.engines[None].begin_nested()
        self.outbox.sent.clear()
        self.outbox.answers.clear()
        self.people = 0
        self.allowed: Counter[int] = Counter()  # message -> how often a person said "send again"
        self.dawdling: list[tuple[claim.Attempt, datetime]] = []
        self.treated: set[int] = set()  # batches that a person called sent

    def teardown(self) -> None:
        db.session.remove()
        self.savepoint.rollback()

    @precondition(lambda self: self.people < 4)
    @rule(language=st.sampled_from(["en", "es"]))
    def somebody_is_due(self, language: str) -> None:
        self.people += 1
        with transaction():
            who = makers.contact(email=f"p{self.people}@patients.example", language=language)
            makers.opted_in(who)
            db.session.execute(
                text("update batch set state = 'cancelled' where kind = 'transactional' and state = 'ready'")
            )
        with transaction():
            planner.plan_due()

    @precondition(lambda self: self.people)
    @rule(
        which=st.integers(0, 5),
        ending=st.sampled_from(["dies called", "dies called", "records", "dawdles", "dies claimed"]),
        fate=FATES,
    )
    def work(self, which: int, ending: str, fate: Fate) -> None:
        """A worker takes a batch and gets as far as `ending` says; one that dawdles goes on some time later."""
        ready = self.batches("ready")
        if not ready:
            return
        with transaction():
            attempt = claim.claim(
                ready[which % len(ready)],
                clinic=self.app.settings.clinic,
                public_url=self.app.settings.public_url,
            )
        if attempt is None or ending == "dies claimed":
            return
        if ending == "dawdles":
            self.dawdling.append((attempt, clocks.now()))
        else:
            self.call(attempt, fate, recorded=ending == "records")

    @precondition(lambda self: self.dawdling)
    @rule(fate=FATES, recorded=st.booleans())
    def goes_on(self, fate: Fate, *, recorded: bool) -> None:
        attempt, since = self.dawdling.pop(0)
        if clocks.now() - since <= rules.LEASE / 2:  # else it notices that it slept, and makes no call
            self.call(attempt, fate, recorded=recorded)

    def call(self, attempt: claim.Attempt, fate: Fate, *, recorded: bool) -> None:
        self.outbox.answers.append(
            Outcome(fate=fate, refused=(0,) if fate is Fate.REFUSED_SOME else (), error="x")
        )
        outcome = attempt.mailer.post(attempt.prepared)
        if recorded:
            with transaction():
                record.record(attempt, outcome)

    @rule(
        seconds=st.sampled_from([1, 61]),
        decision=st.sampled_from(["none", "none", "send again", "treat as sent"]),
    )
    def later(self, seconds: int, decision: str) -> None:
        """Time passes, the sweep looks, and a person may decide about what is in doubt."""
        self.clock.shift(timedelta(seconds=seconds))
        with transaction():
            sweep.sweep(production=False)
            control.release(by="staff:1")
        doubtful = self.batches("uncertain")
        if doubtful and decision != "none":
            with transaction():
                service.decide(doubtful, send_again=decision == "send again")
            if decision == "send again":
                self.allowed.update(
                    db.session.scalars(select(Message.id).where(Message.batch_id.in_(doubtful))).all()
                )
            else:
                self.treated.update(doubtful)

    def batches(self, state: str) -> list[int]:
        found = list(
            db.session.scalars(
                select(Batch.id)
                .where(Batch.state == state, Batch.kind == "sequence", Batch.not_before <= clocks.now())
                .order_by(Batch.id)
            )
        )
        db.session.rollback()
        return found

    @invariant()
    def nothing_leaves_twice(self) -> None:
        left = Counter(recipient.message_id for _, people in self.outbox.sent for recipient in people)
        assert all(count <= 1 + self.allowed[message] for message, count in left.items()), left

    @invariant()
    def what_counts_as_sent_has_left(self) -> None:
        left = {recipient.message_id for _, people in self.outbox.sent for recipient in people}
        counted = db.session.execute(
            select(Message.id, Message.batch_id)
            .join(Batch, Batch.id == Message.batch_id)
            .where(Batch.kind == "sequence", Batch.state == "accepted", Message.state.is_(None))
        ).all()
        db.session.rollback()
        assert all(message in left or batch in self.treated for message, batch in counted)

    @invariant()
    def moves_are_in_the_table(self) -> None:
        now = dict(db.session.execute(select(Batch.id, Batch.state).where(Batch.kind == "sequence")).all())
        db.session.rollback()
        assert set(now.values()) <= {state.value for state in rules.State}


def test_any_interleaving(outbox, app, clock):
    Engine.app, Engine.outbox, Engine.clock = app, outbox, clock
    run_state_machine_as_test(
        Engine,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            phases=[
                Phase.explicit,
                Phase.reuse,
                Phase.generate,
            ],  # shrinking on a real database takes too long
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.data_too_large,
                HealthCheck.filter_too_much,
            ],
        ),
    )
