"""The planner decides once for equal facts, and each fact counts."""

from datetime import time, timedelta
from typing import NamedTuple

import pytest

from crm.core import clock
from crm.core.db import db, rows_as
from crm.messages.limits.send_window import Window
from crm.sequences import planner
from crm.sequences.plan_graph import Plan, Step, Wait
from crm.sequences.planner import DueFacts, DueRow
from crm.sequences.rules import Act

ALWAYS = Window(time(0), time(23, 59), frozenset(range(7)))
PLAN = Plan(ALWAYS, (Step("a", Wait(0, "days"), 0), Step("b", Wait(2, "days"), 1)))
NOW = clock.now().replace(hour=18, minute=0)
ONE = DueRow(
    id=1, contact_id=1, record_id=1, sequence_id=1, version_id=1, step=0, due_at=NOW, anchor_at=NOW, planned_at=NOW,
    send_now=False, too_late=False, time_zone="America/Los_Angeles", language="en", snooze_until=None, refusal=None,
    touched_until=None, capped_from=None,
)  # fmt: skip
VERSIONS = {("a", "en"): 10, ("b", "en"): 11}


def acts(*rows: DueRow) -> list[Act]:
    return [
        one.act for one in planner._decide_all(rows, {1: PLAN, 2: Plan(ALWAYS, ())}, VERSIONS, NOW, {}, {})
    ]


@pytest.mark.parametrize(
    ("change", "act"),
    [
        ({"version_id": 2}, Act.COMPLETE),
        ({"step": 2}, Act.COMPLETE),
        ({"language": "es"}, Act.HOLD),
        ({"refusal": "withdrawn"}, Act.EXIT),
        ({"refusal": "snoozed", "snooze_until": NOW + timedelta(days=3)}, Act.WAIT),
        ({"capped_from": NOW - timedelta(days=1)}, Act.WAIT),
        ({"touched_until": NOW + timedelta(hours=1)}, Act.WAIT),
        ({"touched_until": NOW + timedelta(hours=1), "send_now": True}, Act.SEND),
    ],
)
def test_each_fact_counts(change, act):
    assert acts(ONE, ONE._replace(id=2, contact_id=2, **change), ONE._replace(id=3)) == [
        Act.SEND,
        act,
        Act.SEND,
    ]


def test_equal_facts_are_decided_once(monkeypatch):
    asked = []
    decide = planner._decide
    monkeypatch.setattr(planner, "_decide", lambda *given: asked.append(given[0]) or decide(*given))
    acts(ONE, ONE._replace(id=2, contact_id=7, record_id=9))
    assert asked == [DueFacts(*(getattr(ONE, name) for name in DueFacts._fields))]


def test_a_column_in_another_place_changes_nothing():
    turned = NamedTuple("turned", [(name, object) for name in reversed(DueRow._fields)])  # type: ignore[misc]
    row = turned(**ONE._asdict())
    assert planner._facts(row) == planner._facts(ONE)


def test_rows_need_the_columns_of_their_shape(database):
    class Pair(NamedTuple):
        left: int
        right: int

    assert rows_as(Pair, db.session.execute(db.text("select 1 as left, 2 as right"))) == [Pair(1, 2)]
    with pytest.raises(TypeError, match="does not match"):
        rows_as(Pair, db.session.execute(db.text("select 1 as right, 2 as left")))
