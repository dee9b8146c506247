"""The simulator: what a persona gets and why, and that the planner on the real database does the same."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.messages import answers
from crm.messages.limits.send_window import Window
from crm.messages.models import Message
from crm.messages.rules import Answer
from crm.segments.rules import Condition
from crm.sequences import planner, service
from crm.sequences.models import EmailSequence, Enrolment, Passage, SequenceVersion
from crm.sequences.plan_graph import (
    Answered,
    Branch,
    Ending,
    EndKind,
    InSegment,
    Plan,
    Share,
    Step,
    Wait,
    plan_from,
)
from crm.sequences.simulator import BuiltIn, Kind, Persona, Problem, Says, built_in, problems, sent, simulate
from tests.support import factories
from tests.support.states import bring

LA = ZoneInfo("America/Los_Angeles")
OFFICE = Window(time(9), time(17), frozenset(range(5)))
VIP = InSegment(Condition("tag", ("vip",)))
PLAN = Plan(
    OFFICE,
    (
        Step("a", Wait(0, "days"), 0),
        Branch(
            Answered(Answer.NOT_NOW, 0),
            Wait(2, "days"),
            5,
            yes=(Ending(EndKind.EXIT, "Not now", 7),),
            no=(Step("b", Wait(0, "days"), 1),),
        ),
        Step("c", Wait(1, "days"), 2),
    ),
)
EVERYTHING = [(item, language) for item in "abc" for language in ("en", "es")]
FRIDAY = datetime(2026, 3, 6, 18, tzinfo=LA)  # after hours, before the change of clocks


def persona(**values) -> Persona:
    return Persona(**({"zone": LA, "language": "en", "entered": FRIDAY} | values))


def told(lines) -> list[tuple[str, str]]:
    return [(line.kind, f"{line.at.astimezone(LA):%a %d %H:%M}") for line in lines]


def test_every_date_of_a_reader():
    lines = simulate(PLAN, persona(), content=EVERYTHING)
    assert told(lines) == [
        ("entered", "Fri 06 18:00"), ("sent", "Mon 09 09:00"), ("asked", "Wed 11 09:00"), ("sent", "Wed 11 09:00"),
        ("sent", "Thu 12 09:00"), ("ended", "Thu 12 09:00"),
    ]  # fmt: skip


def test_what_a_person_does_changes_their_way():
    later = Says(email=0, answer=Answer.NOT_NOW, after=timedelta(hours=5))
    call = Says(email=1, answer=Answer.CALL, after=timedelta(hours=1))
    lines = simulate(PLAN, persona(says=(later,)), content=EVERYTHING)
    assert [(line.kind, line.name) for line in lines][-2:] == [("asked", None), ("ended", "Not now")]
    lines = simulate(PLAN, persona(says=(call,)), content=EVERYTHING)
    assert [(line.kind, line.reason) for line in lines][-2:] == [("said", None), ("ended", "answered")]
    lines = simulate(PLAN, persona(leaves=(FRIDAY + timedelta(days=3), "booked")), content=EVERYTHING)
    assert (list(sent(lines)), lines[-1].reason) == ([0], "booked")


def test_a_language_without_an_approved_version_is_held_there():
    lines = simulate(PLAN, persona(language="es"), content=[*EVERYTHING[:1], ("a", "es")])
    assert [(line.kind, line.node) for line in lines[-2:]] == [("asked", 5), ("held", 1)]


SLUGS = ["01-welcome", "02-understanding", "03-common-question", "04-research", "05-safety", "06-talk"]
ITEMS = [f"contact-request/{slug}" for slug in SLUGS]
waits = st.sampled_from([(0, "days"), (1, "days"), (3, "hours"), (2, "days"), (1, "weeks")]).map(
    lambda one: {"amount": one[0], "unit": one[1]}
)
answers_asked = st.builds(
    lambda answer, number: {"answer": answer, **({} if number is None else {"email": number})},
    st.sampled_from(["not_now", "guide"]),
    st.none() | st.integers(0, 5),
)
asks = st.one_of(st.just({"rule": {"field": "tag", "values": ["vip"]}}), answers_asked)


ASKED = {
    "branch": asks.map(lambda ask: {"ask": ask}),
    "split": st.integers(20, 80).map(lambda percent: {"percent": percent, "draw": "sim"}),
    "wait_for": answers_asked.map(lambda ask: {"ask": ask}),  # a tag wakes nobody
}


@st.composite
def shapes(draw, depth: int = 0) -> list[dict]:
    """Nodes without numbers: those of emails and others are given afterwards."""
    kinds = (
        ["email", "email", "email", "wait", "branch", "split", "wait_for"] if depth < 2 else ["email", "wait"]
    )
    found = []
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4 - depth)):
        node = {"kind": kind, "wait": draw(waits)}
        if kind in ("branch", "split", "wait_for"):
            asked = draw(ASKED[kind])
            node |= asked | {"yes": draw(shapes(depth + 1)), "no": draw(shapes(depth + 1))}
            if draw(st.booleans()):
                node["yes"].append({"kind": draw(st.sampled_from(["goal", "exit", "end"])), "name": "There"})
        found.append(node)
    return found


def numbered(nodes: list[dict], emails: list[int], others: list[int]) -> list[dict]:
    """Give emails their numbers, 0 to 5, while there are some, and everything else its own."""
    made = []
    for node in nodes:
        node = dict(node)
        if node["kind"] == "email":
            if not emails:
                continue
            node = {"number": emails.pop(0), "wait": node["wait"]}
            node["item"] = ITEMS[node["number"]]
        else:
            node["number"] = others.pop(0)
        for arm in ("yes", "no"):
            if arm in node:
                node[arm] = numbered(node[arm], emails, others)
        made.append(node)
    return made


plans = st.builds(
    lambda nodes, emails, hours: {
        "format": 2,
        "window": {"start": hours[0], "end": hours[1], "weekdays": hours[2]},
        "nodes": numbered(nodes, list(emails), list(range(10, 200))),
    },
    shapes(),
    st.permutations(range(6)),
    st.sampled_from([("09:00", "17:00", [0, 1, 2, 3, 4]), ("00:00", "23:59", list(range(7)))]),
)
says = st.builds(
    Says,
    email=st.integers(0, 5),
    answer=st.sampled_from(list(Answer)),
    after=st.integers(1, 200).map(lambda hours: timedelta(hours=hours, minutes=7)),
)
people = st.builds(
    dict,
    says=st.lists(says, max_size=3, unique_by=lambda one: (one.email, one.answer)).map(tuple),
    vip=st.none() | st.integers(0, 400).map(lambda hours: timedelta(hours=hours, minutes=3)),
    leaves=st.none() | st.integers(1, 900).map(lambda hours: timedelta(hours=hours, minutes=11)),
    zone=st.sampled_from(["America/Los_Angeles", "America/New_York", "Asia/Kolkata"]),
    entered=st.integers(0, 400).map(lambda hours: timedelta(hours=hours)),
)
START = datetime(2026, 3, 3, 18, tzinfo=UTC)  # the change of clocks is five days later


def imagined(one: dict) -> Persona:
    entered = START + one["entered"]
    inside = {VIP: (entered + one["vip"], None)} if one["vip"] is not None else {}
    leaves = (entered + one["leaves"], "lead lost") if one["leaves"] is not None else None
    return Persona(
        zone=ZoneInfo(one["zone"]),
        language="en",
        entered=entered,
        says=one["says"],
        inside=inside,
        leaves=leaves,
    )


def drawn_by(plan: Plan, contact_id: int) -> frozenset[int]:
    asked = [(one.number, one.question) for one in plan.branches]
    return frozenset(n for n, share in asked if isinstance(share, Share) and share.holds(contact_id))


def test_the_planner_does_what_the_simulator_says(outbox, clock):
    """Random plans, people, answers and orders; each is played on the database at the moments that its facts give."""

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(plans, people)
    def agree(stored, one):
        plan, who = plan_from(stored), imagined(one)
        content = [(item, "en") for item in ITEMS]
        with transaction():
            played = Played(stored, who, clock)
            lines = simulate(plan, replace(who, drawn=drawn_by(plan, played.contact_id)), content=content)
            for _ in range(200):
                if not played.step():
                    break
            end = lines[-1]
            assert played.emails() == dict(sent(lines))
            assert played.passages() == {(line.node, line.yes) for line in lines if line.kind is Kind.ASKED}
            assert played.end() == (end.state, end.reason, end.name)
            db.session.rollback()

    agree()


class Played:
    """One person on the database, planned at exactly the moments at which something is due or they do something."""

    def __init__(self, stored: dict, who: Persona, clock) -> None:
        self.who, self.clock = who, clock
        clock.move_to(who.entered)
        sequence_id = db.session.scalars(
            select(EmailSequence.id).where(EmailSequence.key == "contact-request")
        ).one()
        version = SequenceVersion(sequence_id=sequence_id, number=99, plan=stored, created_at=clocks.now())
        db.session.add(version)
        db.session.flush()
        made = factories.contact("sim@x.example", time_zone=who.zone.key)
        factories.opted_in(made)
        bring("batch", "accepted", where="kind = 'transactional' and state = 'ready'")
        self.contact_id = made.id
        self.enrolment_id = db.session.scalars(
            select(Enrolment.id).where(Enrolment.contact_id == made.id, Enrolment.version_id == version.id)
        ).one()
        self.done: set[object] = set()

    def row(self) -> Enrolment:
        db.session.flush()
        db.session.expire_all()
        return db.session.get_one(Enrolment, self.enrolment_id)

    def step(self) -> bool:
        """Do what comes next; return whether anything can follow."""
        row = self.row()
        if row.state != "active":
            return False
        at, what = min([*self.happenings(), (row.due_at, None)], key=lambda one: one[0])
        self.clock.move_to(at)
        if what is None:
            planner.plan_due()
            bring("batch", "accepted", where="kind = 'sequence' and state = 'ready'")
            return True
        self.done.add(what)
        self.happen(what)
        return True

    def happenings(self) -> list:
        sent_at = self.emails()
        found: list = [
            (sent_at[one.email] + one.after, one)
            for one in self.who.says
            if one.email in sent_at and one not in self.done
        ]
        found += [(at, "vip") for at, _ in self.who.inside.values() if "vip" not in self.done]
        found += [(self.who.leaves[0], "leaves")] if self.who.leaves and "leaves" not in self.done else []
        return found

    def happen(self, what) -> None:
        if what == "vip":
            given = {"who": self.contact_id, "now": clocks.now()}
            db.session.execute(
                text("insert into contact_tag (contact_id, tag, added_at) values (:who, 'vip', :now)"), given
            )
        elif what == "leaves":
            service.exit_people(contact_ids=[self.contact_id], reason="lead lost")
        else:
            message_id = db.session.scalars(
                select(Message.id).where(
                    Message.enrolment_id == self.enrolment_id, Message.step == what.email
                )
            ).one()
            answers.record(message_id=message_id, contact_id=self.contact_id, answer=what.answer)

    def emails(self) -> dict[int, datetime]:
        rows = select(Message.step, Message.created_at).where(Message.enrolment_id == self.enrolment_id)
        return {row.step: row.created_at for row in db.session.execute(rows)}

    def passages(self) -> set[tuple[int, bool]]:
        rows = select(Passage.node, Passage.yes).where(Passage.enrolment_id == self.enrolment_id)
        return {(row.node, row.yes) for row in db.session.execute(rows)}

    def end(self) -> tuple:
        row = self.row()
        return row.state, row.reason, row.end_name


def test_built_in_personas_find_no_fault_and_see_one():
    found = built_in(PLAN, now=FRIDAY, zone=LA)
    assert set(found) == set(BuiltIn) - {BuiltIn.DRAWN}
    for who in found.values():
        assert not problems(PLAN, who, simulate(PLAN, who, content=EVERYTHING))
    lines = simulate(PLAN, found[BuiltIn.READS], content=EVERYTHING)
    wrong = [
        *lines,
        *(replace(line, at=line.at + timedelta(hours=12)) for line in lines if line.kind == "sent"),
    ]
    assert problems(PLAN, found[BuiltIn.READS], wrong) == set(Problem)


def test_both_ways_of_a_split_are_rehearsed():
    plan = Plan(
        OFFICE, (Branch(Share(30, "1:5"), Wait(0, "days"), 5, yes=(Step("a", Wait(0, "days"), 0),), no=()),)
    )
    found = built_in(plan, now=FRIDAY, zone=LA)
    got = {name: list(sent(simulate(plan, who, content=EVERYTHING))) for name, who in found.items()}
    assert (got[BuiltIn.DRAWN], got[BuiltIn.READS]) == ([0], [])


BOOKED = InSegment(Condition("booked"))


def test_a_wait_for_ends_when_it_happens_or_when_time_runs_out():
    ways = {"yes": (Step("b", Wait(0, "days"), 1),), "no": (Ending(EndKind.END, "Silent", 7),)}
    plan = Plan(
        OFFICE,
        (Step("a", Wait(0, "days"), 0), Branch(BOOKED, Wait(7, "days"), 5, waits_for=True, **ways)),
    )
    silent = told(simulate(plan, persona(), content=EVERYTHING))
    assert silent == [
        ("entered", "Fri 06 18:00"), ("sent", "Mon 09 09:00"), ("waits", "Mon 09 09:00"),
        ("asked", "Mon 16 09:00"), ("ended", "Mon 16 09:00"),
    ]  # fmt: skip
    books = persona(inside={BOOKED: (FRIDAY + timedelta(days=4), None)})
    assert told(simulate(plan, books, content=EVERYTHING))[2:] == [
        ("waits", "Mon 09 09:00"), ("asked", "Tue 10 18:00"), ("sent", "Wed 11 09:00"), ("ended", "Wed 11 09:00"),
    ]  # fmt: skip
