"""Rules of segments: what is refused, and that evaluation and SQL agree for random rules and people."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from crm.core import clock as clocks
from crm.core.db import db
from crm.segments import rules
from crm.segments.rules import All, AnyOf, Condition, Event, Not, Person, RuleError
from crm.segments.segment_sql import compile_rule
from tests.support import factories

TAG = {"field": "tag", "values": ["vip"]}


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        {"all": [], "any": []},
        {"all": {}},
        {"field": "diagnosis", "values": ["x"]},  # not on the list
        {"field": "tag"},
        {"field": "tag", "values": [""]},
        {"field": "tag", "values": ["a\0b"]},
        {"field": "tag", "values": [1]},
        {"field": "tag", "values": ["x"], "column": "email"},
        {"field": "booked", "values": ["x"]},
        {"field": "booked", "times": 0},
        {"field": "booked", "times": True},
        {"field": "booked", "days": 4_000},
        {"all": [TAG] * 51},
        {"not": {"all": [{"any": [{"all": [{"any": [{"all": [TAG]}]}]}]}]}},
    ],
)
def test_what_is_refused(stored):
    with pytest.raises(RuleError):
        rules.parse(stored)


TAGS, LANGUAGES, STATES, STAGES = ["vip", "it's", 'a"b'], ["en", "es"], ["CA", "NV"], ["new", "contacted"]
CHOICES = {
    "tag": TAGS,
    "language": LANGUAGES,
    "us_state": STATES,
    "consent": ["prospect_edu", "referred_edu"],
    "stage": STAGES,
    "source": ["form", "phone"],
    "sequence": ["contact-request"],
    "sequence_completed": ["contact-request"],
    "sequence_exited": ["contact-request"],
}
choice = st.sampled_from(sorted(CHOICES)).flatmap(
    lambda name: st.lists(st.sampled_from([*CHOICES[name], "') or true --"]), min_size=1, max_size=2).map(
        lambda values: Condition(name, tuple(values))
    )
)  # fmt: skip
event = st.builds(
    Condition,
    st.sampled_from(["lead_opened", "confirmed", "booked", "email_sent"]),
    times=st.integers(1, 3),
    days=st.none() | st.sampled_from([1, 10, 30, 400]),
)
share = st.builds(
    lambda name, percent: Condition("share", (name,), percent), st.text("xy", min_size=1), st.integers(1, 100)
)
trees = st.recursive(
    choice | event | share,
    lambda parts: (
        st.lists(parts, max_size=3).map(lambda found: All(tuple(found)))
        | st.lists(parts, max_size=3).map(lambda found: AnyOf(tuple(found)))
        | parts.map(Not)
    ),
    max_leaves=8,
)


def people() -> list[Person]:
    """Two dozen people with different facts, in the database and as plain values."""
    now = clocks.now()
    found = []
    for number in range(24):
        person = factories.contact(
            f"p{number}@patients.example", language=LANGUAGES[number % 2], state=[*STATES, None][number % 3]
        )
        values: dict[str, set[str]] = {"language": {person.language}, "us_state": {person.state} - {None}}
        events: dict[str, list[Event]] = {}
        if number % 4:
            tag = TAGS[number % 3]
            insert("contact_tag (contact_id, tag, added_at)", person.id, tag, now)
            values["tag"] = {tag}
        for again in range(number % 3):
            at = now - timedelta(days=7 * again * number + 1, hours=1)
            stage, source = STAGES[again], ["form", "phone"][number % 2]
            lead = insert(
                "lead (contact_id, reference, kind, stage, source, created_at, stage_at) returning id",
                person.id, f"C-{number}-{again}", "contact_request", stage, source, at, at,
            )  # fmt: skip
            values.setdefault("stage", set()).add(stage)
            values.setdefault("source", set()).add(source)
            events.setdefault("lead_opened", []).append(Event(at=at))
            if number % 5 == 1:
                insert(
                    "consultation (lead_id, starts_at, minutes, state, state_at, created_at, actor)",
                    lead, now, 30, "attended", now, at, "x",
                )  # fmt: skip
                events.setdefault("booked", []).append(Event(at=at))
        if number % 6 < 3:
            at = now - timedelta(days=number)
            record = insert(
                "consent_record (contact_id, topic, action, language, source, actor, at) returning id",
                person.id, "prospect_edu", "granted", "en", "confirm_link", "x", at,
            )  # fmt: skip
            granted = bool(number % 2)
            insert(
                "consent_state (contact_id, topic, granted, record_id, at)",
                person.id,
                "prospect_edu",
                granted,
                record,
                at,
            )
            values["consent"] = {"prospect_edu"} if granted else set()
            events["confirmed"] = [Event(at=at)]
            state = ["paused", "completed", "exited"][number % 3]
            db.session.execute(
                text("""
                    insert into enrolment (contact_id, sequence_id, version_id, state, step, anchor_at, entered_at)
                    select :who, s.id, v.id, :state, 0, :now, :now
                    from sequence s join sequence_version v on v.sequence_id = s.id where s.key = 'contact-request'
                """),
                {"who": person.id, "state": state, "now": now},
            )
            name = {"paused": "sequence", "completed": "sequence_completed", "exited": "sequence_exited"}[
                state
            ]
            values[name] = {"contact-request"}
        found.append(
            Person(
                id=person.id,
                values={name: frozenset(one) for name, one in values.items()},
                events={name: tuple(one) for name, one in events.items()},
            )
        )
    return found


def insert(into: str, *values: object):
    columns, _, returning = into.partition(" returning ")
    places = ", ".join(f":v{number}" for number in range(len(values)))
    given = {f"v{number}": value for number, value in enumerate(values)}
    done = db.session.execute(
        text(f"insert into {columns} values ({places})" + (" returning id" if returning else "")), given
    )
    return done.scalar_one() if returning else None


def test_evaluation_and_sql_agree(edge, clock):
    factories.shipped()
    known, now = people(), clocks.now()
    ids = [person.id for person in known]

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(trees)
    def agree(rule):
        made = compile_rule(rule, now=now)
        rows = db.session.scalars(
            text(f"select c.id from contact c where c.id = any(:ids) and {made.sql}"),
            {"ids": ids, **made.values},
        )
        assert set(rows) == {person.id for person in known if rules.holds(rule, person, now=now)}
        assert rules.parse(rules.stored(All((rule,)))) == All((rule,))

    agree()
    counts = {
        name: sum(rules.holds(Condition(name, tuple(values)), person, now=now) for person in known)
        for name, values in CHOICES.items()
    }
    assert all(0 < count < len(known) or name == "language" for name, count in counts.items()), counts


@given(trees)
def test_no_value_becomes_part_of_the_statement(rule):
    made = compile_rule(rule, now=clocks.now())
    assert "or true --" not in made.sql
    assert "it's" not in made.sql


def test_a_share_is_a_share_and_stays():
    draw = Condition("share", ("autumn",), 20)
    inside = [number for number in range(5_000) if rules.holds(draw, Person(id=number), now=clocks.now())]
    assert 900 < len(inside) < 1_100
    other = Condition("share", ("winter",), 20)
    assert sum(rules.holds(other, Person(id=number), now=clocks.now()) for number in inside) < 300
