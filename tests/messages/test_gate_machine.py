"""Any interleaving of pause, cancel, stop, hold, outage, release, resume and throttle with batches in flight.

The machine of `test_machine` plays on, with broadcasts beside the sequence and with gates that open and close. Two
judges look on, and neither asks the engine: at each claim, a model of the gates says whether each email may leave; at
the end every gate opens, and each email was sent, or is listed with a reason that the model knows. That the
judges are awake is tested too: with any one guard taken down, a few steps lead to a verdict.
"""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from sqlalchemy import select, text

from crm.campaigns import service as campaigns
from crm.consent import service as consent
from crm.consent.queries import REFUSAL_CASE
from crm.contacts.models import Contact
from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.mailer import Fate
from crm.messages import service
from crm.messages.engine import claim, record, sweep
from crm.messages.engine.deliver import NOT_CALLED
from crm.messages.limits import switches
from crm.messages.models import Batch, Message
from crm.messages.rules import FREQUENCY_CAP, FREQUENCY_SPAN
from crm.sequences import planner
from crm.sequences import service as sequences
from jobs.campaigns import look_after
from jobs.sequences import release as release_people
from tests.campaigns.conftest import freeze
from tests.messages.test_machine import PLAYED, Engine

HOUR = 3_600
ITEMS = [
    "contact-request/01-welcome",
    *(f"contact-request/0{n}" for n in ("4-research", "5-safety", "6-talk")),
]
RUNNING = ["freezing", "sending"]
ZONES = ["America/Los_Angeles", "Pacific/Honolulu"]
ANSWERS = st.sampled_from([Fate.TRY_AGAIN] * 3 + [Fate.ACCEPTED] * 2 + [Fate.THROTTLED, Fate.REFUSED])
OUR_REASONS = {"left_sequence", "opted_out", "booked", "frequency_cap", "had_already", "no_consent"}


class Gates(Engine):
    """`closed` and the other plain fields are the model; the engine is asked for nothing but whom an email is for."""

    kinds = ("sequence", "campaign")

    def __init__(self) -> None:
        super().__init__()
        with transaction():
            self.sequence: int = db.session.scalar(
                text("select id from sequence where key = 'contact-request'")
            )
        self.closed: set[str] = set()  # "all", "sequence", "campaign:1"
        self.expired = False  # the content
        self.throttled = clocks.now()
        self.planned: dict[int, datetime] = {}  # broadcast -> when it was launched
        self.ended: set[int] = set()  # cancelled broadcasts
        self.out: set[int] = set()  # people who booked
        self.no: set[int] = set()  # people who opted out
        self.called: defaultdict[int, list[datetime]] = defaultdict(
            list
        )  # person -> educational emails that left
        self.had: defaultdict[int, dict[int, int]] = defaultdict(dict)  # person -> version -> message

    def teardown(self) -> None:
        try:
            self.everything_settles()
        finally:
            super().teardown()

    # -- what happens

    @precondition(lambda self: self.people and len(self.planned) < 2 and not self.expired)
    @rule(item=st.sampled_from(ITEMS))
    def broadcast(self, item: str) -> None:
        with transaction():
            campaign_id = campaigns.create(name="News", item=item)
            campaigns.launch(campaign_id)
        self.planned[campaign_id] = clocks.now()
        freeze(campaign_id)

    @precondition(lambda self: set(self.planned) - self.ended)
    @rule(verb=st.sampled_from(["pause", "pause", "resume", "cancel"]))
    def staff_move_a_broadcast(self, verb: str) -> None:
        campaign_id = max(set(self.planned) - self.ended)
        gate, possible = (
            f"campaign:{campaign_id}",
            {"pause": RUNNING, "resume": ["paused"], "cancel": [*RUNNING, "paused"]},
        )
        if self.state_of(campaign_id) not in possible[verb]:
            return
        with transaction():
            getattr(campaigns, verb)(campaign_id)
        if verb == "resume":
            self.closed.discard(gate)
        else:
            self.closed.add(gate)
        if verb == "cancel":
            self.ended.add(campaign_id)

    def state_of(self, campaign_id: int) -> str:
        with transaction():
            return db.session.scalar(text("select state from campaign where id = :id"), {"id": campaign_id})

    @rule()
    def staff_pause_or_resume_the_sequence(self) -> None:
        paused = "sequence" in self.closed
        with transaction():
            (sequences.resume if paused else sequences.pause)(self.sequence)
        self.closed ^= {"sequence"}

    @rule()
    def staff_stop_or_release_everything(self) -> None:
        stopped = "all" in self.closed
        with transaction():
            switches.release(by="Kim") if stopped else switches.stop(by="Kim", reason="x")
        self.closed ^= {"all"}

    @precondition(lambda self: self.people)
    @rule(booked=st.booleans())
    def a_person_leaves(self, *, booked: bool) -> None:
        with transaction():
            who = db.session.scalar(select(Contact.id).where(Contact.email == "p1@patients.example"))
            if booked:
                sequences.exit_people(contact_ids=[who], reason="booked")
            else:
                consent.withdraw(contact_id=who, topic=None, source="one_click")
        (self.out if booked else self.no).add(who)

    @rule()
    def staff_send_again_what_failed(self) -> None:
        failed = select(Batch.id).where(
            Batch.state == "failed", Batch.kind.in_(self.kinds), Batch.error == "x"
        )
        with transaction():
            ids = db.session.scalars(failed).all()
            if ids:
                service.decide(ids, send_again=True)

    @rule(expired=st.booleans())
    def content_is_withdrawn_or_approved(self, *, expired: bool) -> None:
        with transaction():
            self.set_content(expired=expired)
        self.expired = expired

    @rule(hours=st.sampled_from([1, 5, 9, 26]), swept=st.booleans())
    def hours_pass(self, hours: int, *, swept: bool) -> None:
        """An outage when nothing is swept: no sweep, no planner, no maintenance."""
        self.clock.shift(timedelta(hours=hours))
        if swept:
            self.look_after()

    # -- what the machine of `test_machine` asks for

    @precondition(lambda self: self.people < 3)
    @rule(language=st.sampled_from(["en", "es"]))
    def somebody_is_due(self, language: str) -> None:
        super().somebody_is_due(language)
        with transaction():
            name = {"zone": ZONES[self.people % 2], "email": f"p{self.people}@patients.example"}
            db.session.execute(text("update contact set time_zone = :zone where email = :email"), name)

    @rule(which=st.integers(0, 9), ending=st.sampled_from(["records", "dawdles"]), fate=ANSWERS)
    def work(self, which: int, ending: str, fate: Fate) -> None:
        super().work(which, ending, fate)

    @precondition(lambda self: self.dawdling)
    @rule(fate=ANSWERS)
    def goes_on(self, fate: Fate) -> None:
        super().goes_on(fate, recorded=True)

    @rule(seconds=st.sampled_from([1, 61]))
    def later(self, seconds: int) -> None:
        super().later(seconds, "treat as sent")

    def maintain(self) -> None:
        pass

    def call(self, attempt: claim.Attempt, fate: Fate, *, recorded: bool) -> None:
        super().call(attempt, fate, recorded=recorded)
        if fate is Fate.THROTTLED:
            self.throttled = clocks.now() + timedelta(seconds=30)
        if fate is Fate.ACCEPTED:
            for who, message in self.people_of(attempt):
                self.called[who].append(clocks.now())
                self.had[who][message.content_version_id] = message.id

    # -- the judges

    def people_of(self, attempt: claim.Attempt) -> list[tuple[int, Message]]:
        found = db.session.scalars(select(Message).where(Message.id.in_(attempt.message_ids))).all()
        db.session.expunge_all()
        db.session.rollback()
        return [(message.contact_id, message) for message in found]

    def judge(self, attempt: claim.Attempt) -> None:
        zones = dict(db.session.execute(select(Contact.id, Contact.time_zone)).all())
        for who, message in self.people_of(attempt):
            why = self.why_not(who, message, clocks.now().astimezone(ZoneInfo(zones[who])))
            assert why is None, f"left past a closed gate: {why}"

    def why_not(self, who: int, message: Message, local: datetime) -> str | None:
        """Return the gate that is closed for this email, by the model."""
        now, campaign_id = clocks.now(), message.campaign_id
        gate = f"campaign:{campaign_id}" if campaign_id else "sequence"
        workday = local.weekday() < 5 and 9 <= local.hour < 18
        closed = {
            "all sending": "all" in self.closed,
            "the throttle": now < self.throttled,
            "the broadcast or sequence": gate in self.closed,
            "the hour": not (8 <= local.hour < 20 if campaign_id else workday),
            "the person booked": not campaign_id and who in self.out,
            "the person said no": who in self.no,
            "the limit per person": len([at for at in self.called[who] if at > now - FREQUENCY_SPAN])
            >= FREQUENCY_CAP,
            "had already": bool(campaign_id)
            and self.had[who].get(message.content_version_id, message.id) != message.id,
            "too late": bool(campaign_id) and now >= self.planned.get(campaign_id, now) + timedelta(hours=24),
        }
        return next((name for name, holds in closed.items() if holds), None)

    def everything_settles(self) -> None:
        """Open every gate and let two days pass: nothing waits any more, and whatever did not leave has a reason."""
        with transaction():
            for attempt, _ in self.dawdling:
                record.apply_outcome(attempt, NOT_CALLED)
            if "all" in self.closed:
                switches.release(by="Kim")
            if "sequence" in self.closed:
                sequences.resume(self.sequence)
            for campaign_id in self.planned:
                if (
                    self.state_of(campaign_id) == "paused"
                ):  # by staff, or because the provider refused its batches
                    campaigns.resume(campaign_id)
            self.set_content(expired=False)
        self.dawdling, self.closed = [], {f"campaign:{campaign_id}" for campaign_id in self.ended}
        for _ in range(18):
            self.look_after(plan=False)
            self.deliver_everything()
            if not self.still_waiting():
                break
            self.clock.shift(timedelta(hours=5))
        self.look_after(plan=False)
        assert not self.still_waiting(), "an email still waits"
        self.nobody_is_lost()

    def nobody_is_lost(self) -> None:
        with transaction():
            rows = db.session.execute(
                text("""
                    select m.id, coalesce(m.state, b.state) as state, coalesce(m.reason, b.error) as reason, b.campaign_id
                    from message m join batch b on b.id = m.batch_id where b.kind <> 'transactional'
                """)
            ).all()
            stuck = db.session.scalar(
                text("select count(*) from enrolment where state in ('paused', 'held')")
            )
            open_ones = db.session.scalar(
                text("select count(*) from campaign where state not in ('finished', 'cancelled')")
            )
        left = {recipient.message_id for _, people in self.outbox.sent for recipient in people}
        for row in rows:
            known = {
                "accepted": row.id in left,
                "skipped": row.reason in OUR_REASONS,
                "failed": row.reason in ("x", "too late to be sent"),
                "cancelled": row.campaign_id in self.ended or row.reason == "nobody left to send to",
            }
            assert known[row.state], f"lost: {row}"
        assert (stuck, open_ones) == (0, 0), "somebody is left behind"

    def still_waiting(self) -> int:
        with transaction():
            return db.session.scalar(
                text("select count(*) from batch where state in ('ready', 'held', 'sending', 'uncertain')"
                     " and kind <> 'transactional'")
            )  # fmt: skip

    def deliver_everything(self) -> None:
        while True:
            with transaction():
                found = claim.claim_next_batch(
                    clinic=self.app.settings.clinic, public_url=self.app.settings.public_url
                )
            if isinstance(found, claim.Attempt):
                self.judge(found)
                self.call(found, Fate.ACCEPTED, recorded=True)
            elif found is claim.NoCall.NOTHING_READY:
                return

    def look_after(self, *, plan: bool = True) -> None:
        with transaction():
            sweep.run_sweep(production=False)
            service.release_approved()
            doubtful = db.session.scalars(select(Batch.id).where(Batch.state == "uncertain")).all()
            if doubtful:
                service.decide(doubtful, send_again=True)  # nothing was called
        release_people()
        look_after()
        if plan:
            with transaction():
                planner.plan_due()

    def set_content(self, *, expired: bool) -> None:
        until = clocks.now() if expired else None
        db.session.execute(text("update content_version set expires_at = :until"), {"until": until})


def test_any_interleaving_of_gates(outbox, app, clock):
    Gates.app, Gates.outbox, Gates.clock = app, outbox, clock
    run_state_machine_as_test(Gates, settings=settings(PLAYED, max_examples=5, stateful_step_count=25))


# -- each guard is needed: how to take it down, and the steps that then let an email leave, or stay


def _cut(*statements: str, standing: str, instead: str) -> Callable[[pytest.MonkeyPatch], None]:
    def take_down(patch: pytest.MonkeyPatch) -> None:
        for name in statements:
            whole = str(getattr(claim, name))
            assert standing in whole
            patch.setattr(claim, name, text(whole.replace(standing, instead)))

    return take_down


def _claims(standing: str, instead: str) -> Callable[[pytest.MonkeyPatch], None]:
    return _cut("_CLAIM_ONE", "_CLAIM_NEXT", standing=standing, instead=instead)


def _again(standing: str, instead: str) -> Callable[[pytest.MonkeyPatch], None]:
    return _cut("_CHECK_AGAIN", standing=standing, instead=instead)


def _come_back(gates: Gates) -> None:
    """Let the call under way end with nothing taken, and its wait pass."""
    gates.goes_on(fate=Fate.TRY_AGAIN)
    gates.clock.shift(timedelta(seconds=10))


def _refused_broadcast_is_sent_again(gates: Gates) -> None:
    gates.broadcast(item=ITEMS[1])
    gates.work(which=0, ending="records", fate=Fate.ACCEPTED)
    gates.work(which=0, ending="records", fate=Fate.REFUSED)
    gates.broadcast(item=ITEMS[2])
    gates.work(which=0, ending="records", fate=Fate.REFUSED)
    gates.staff_move_a_broadcast(verb="pause")
    gates.staff_send_again_what_failed()


def _refused_step_is_sent_again(gates: Gates) -> None:
    gates.work(which=0, ending="records", fate=Fate.REFUSED)
    gates.staff_pause_or_resume_the_sequence()
    gates.staff_send_again_what_failed()


def _everything_is_stopped(gates: Gates) -> None:
    gates.staff_stop_or_release_everything()


def _provider_asks_for_a_pause(gates: Gates) -> None:
    gates.broadcast(item=ITEMS[1])
    gates.work(which=0, ending="records", fate=Fate.THROTTLED)


def _night_comes(gates: Gates) -> None:
    gates.clock.shift(timedelta(hours=11))


def _step_comes_back_after_booking(gates: Gates) -> None:
    gates.work(which=0, ending="dawdles", fate=Fate.ACCEPTED)
    gates.a_person_leaves(booked=True)
    _come_back(gates)


def _broadcast_comes_back_after_a_no(gates: Gates) -> None:
    gates.work(which=0, ending="records", fate=Fate.ACCEPTED)
    gates.broadcast(item=ITEMS[1])
    gates.work(which=0, ending="dawdles", fate=Fate.ACCEPTED)
    gates.a_person_leaves(booked=False)
    _come_back(gates)


def _broadcast_comes_back_after_three_others(gates: Gates) -> None:
    gates.work(which=0, ending="records", fate=Fate.ACCEPTED)
    gates.broadcast(item=ITEMS[1])
    gates.work(which=0, ending="dawdles", fate=Fate.ACCEPTED)
    who = next(iter(gates.called))
    with transaction():
        for number in range(2):
            db.session.execute(
                text("""
                    insert into message (batch_id, contact_id, content_version_id, campaign_id, created_at)
                    select min(id), :who, 0, 900 + :number, :now from batch where state = 'accepted'
                """),
                {"who": who, "number": number, "now": clocks.now()},
            )  # fmt: skip
    gates.called[who] += [clocks.now()] * 2
    _come_back(gates)


def _broadcast_comes_back_after_the_same_step(gates: Gates) -> None:
    with transaction():
        sequences.pause(gates.sequence)
    gates.closed.add("sequence")
    with transaction():  # the step has not been planned when the broadcast asks
        db.session.execute(text("delete from message where enrolment_id is not null"))
        db.session.execute(text("update enrolment set step = 0, paused_left = 0"))
        db.session.execute(text("update batch set state = 'cancelled' where kind = 'sequence'"))
    gates.broadcast(item=ITEMS[0])
    gates.work(which=0, ending="dawdles", fate=Fate.ACCEPTED)
    gates.staff_pause_or_resume_the_sequence()
    with transaction():
        planner.plan_due()
    gates.work(which=0, ending="records", fate=Fate.ACCEPTED)
    _come_back(gates)


def _stopped_for_thirty_hours(gates: Gates) -> None:
    gates.work(which=0, ending="records", fate=Fate.ACCEPTED)
    gates.broadcast(item=ITEMS[1])
    gates.clock.shift(timedelta(hours=26))


GUARDS = {
    "the broadcast is asked": (
        _claims("k.state in ('freezing', 'sending', 'finished')", "true"), _refused_broadcast_is_sent_again),
    "the sequence is asked": (_claims("q.state = 'live'", "true"), _refused_step_is_sent_again),
    "the switch is asked": (_claims("(stopped_at is null or b.passes_stop)", "true"), _everything_is_stopped),
    "the throttle is asked": (
        _claims("(throttled_until is null or throttled_until <= :now)", "true"), _provider_asks_for_a_pause),
    "the hour is asked": (lambda patch: patch.setattr(claim, "_hours", lambda *_: None), _night_comes),
    "the enrolment is asked": (_again("e.state = 'exited'", "false"), _step_comes_back_after_booking),
    "consent is asked": (_again(f"coalesce({REFUSAL_CASE}, ", "coalesce(null, "), _broadcast_comes_back_after_a_no),
    "the limit is asked": (_again("counted) >= cast(:cap as int)", "counted) < 0"), _broadcast_comes_back_after_three_others),
    "the version is asked": (_again("and not k.repeat_allowed", "and false"), _broadcast_comes_back_after_the_same_step),
    "the plan is asked": (
        _claims("(too_late_at is null or too_late_at > :now)", "true"), _stopped_for_thirty_hours),
}  # fmt: skip


def play(app, outbox, clock) -> Gates:
    Gates.app, Gates.outbox, Gates.clock = app, outbox, clock
    gates = Gates()
    gates.somebody_is_due(language="en")
    gates.clock.shift(timedelta(hours=3))  # a morning in both zones
    return gates


def tell(story: Callable[[Gates], None], gates: Gates) -> None:
    story(gates)
    for _ in range(3):
        gates.work(which=0, ending="records", fate=Fate.ACCEPTED)


@pytest.mark.parametrize("guard", GUARDS)
def test_each_guard_is_what_closes_a_gate(outbox, app, clock, monkeypatch, guard):
    take_down, story = GUARDS[guard]
    start = clocks.now()
    for down in (False, True):
        clock.move_to(start)
        outbox.sent.clear()
        gates = play(app, outbox, clock)
        try:
            with monkeypatch.context() as patch:
                if down:
                    take_down(patch)
                    with pytest.raises(AssertionError, match="left past a closed gate"):
                        tell(story, gates)
                else:
                    tell(story, gates)
        finally:
            Engine.teardown(gates)


WAYS_BACK = {
    "a resume frees what a pause held": (service, "unhold"),
    "a job frees what an approval missed": (service, "release_approved"),
}


@pytest.mark.parametrize("way", WAYS_BACK)
def test_each_way_back_is_needed(outbox, app, clock, monkeypatch, way):
    """Held by a pause, and by content that expires and is approved again: without the way back it waits for ever."""
    start = clocks.now()
    for down in (False, True):
        clock.move_to(start)
        gates = play(app, outbox, clock)
        try:
            gates.broadcast(item=ITEMS[1])
            gates.content_is_withdrawn_or_approved(expired=True)
            gates.work(which=0, ending="records", fate=Fate.ACCEPTED)
            gates.staff_move_a_broadcast(verb="pause")
            with monkeypatch.context() as patch:
                if down:
                    patch.setattr(*WAYS_BACK[way], lambda **_: 0)
                    with pytest.raises(AssertionError, match="an email still waits"):
                        gates.everything_settles()
                else:
                    gates.everything_settles()
        finally:
            Engine.teardown(gates)
