"""The plan as a graph: what can be read, what follows what, and what one decision has to ask."""

from datetime import time

import pytest

from crm.messages.rules import Answer
from crm.sequences.plan_graph import Answered, Branch, Ending, InSegment, Pause, Plan, Share, Step, plan_from

DAY, AT_ONCE = {"amount": 1, "unit": "days"}, {"amount": 0, "unit": "days"}
WINDOW = {"start": "09:00", "end": "17:00", "weekdays": [0, 1, 2, 3, 4]}
CALL = {"answer": "not_now", "email": 0}
TAGGED = {"segment_rule": 7, "rule": {"field": "tag", "values": ["vip"]}}


def email(number: int, *, wait=None) -> dict:
    return {"number": number, "item": f"mail/{number}", "wait": wait or DAY}


def branch(number: int, *, yes=(), no=(), ask=None, wait=None) -> dict:
    return {
        "number": number, "kind": "branch", "ask": ask or CALL, "wait": wait or DAY, "yes": list(yes), "no": list(no),
    }  # fmt: skip


def split(number: int, *, percent=30) -> dict:
    made = branch(number) | {"kind": "split", "percent": percent, "draw": f"7:{number}"}
    return {name: value for name, value in made.items() if name != "ask"}


def ending(number: int, kind: str = "exit") -> dict:
    return {"number": number, "kind": kind, "name": "Said no"}


def plan(*nodes: dict) -> Plan:
    return plan_from({"format": 2, "window": WINDOW, "nodes": list(nodes)})


INNER = branch(6, ask=TAGGED, wait=AT_ONCE, yes=[email(7)])
BRANCHED = plan(
    email(0),
    branch(5, yes=[email(1), ending(8)], no=[INNER, {"number": 9, "kind": "wait", "wait": DAY}]),
    email(2, wait=AT_ONCE),
)  # fmt: skip


def test_what_is_read():
    assert [type(BRANCHED.node(number)) for number in (0, 5, 8, 9)] == [Step, Branch, Ending, Pause]
    assert BRANCHED.branches[0].question == Answered(Answer.NOT_NOW, 0)
    assert isinstance(BRANCHED.branches[1].question, InSegment)
    assert (BRANCHED.window.start, BRANCHED.end) == (time(9), 10)
    assert [step.number for step in BRANCHED.steps] == [0, 1, 7, 2]


@pytest.mark.parametrize(
    ("number", "yes", "follows"),
    [
        (0, False, 5),
        (5, True, 1),
        (5, False, 6),
        (1, False, 8),
        (6, True, 7),
        (6, False, 9),  # an empty arm goes on after the branch
        (7, False, 9),
        (9, False, 2),  # out of the arm
        (2, False, None),
    ],
)
def test_what_follows(number, yes, follows):
    after = BRANCHED.after(number, yes=yes)
    assert (after.number if after else None) == follows


def test_what_can_still_come():
    assert BRANCHED.ahead(1) == {1, 8}
    assert BRANCHED.ahead(6) == {6, 7, 9, 2}
    assert BRANCHED.ahead(5) == {5, 1, 8, 6, 7, 9, 2}
    assert not BRANCHED.ahead(99)
    assert [step.number for step in BRANCHED.before(9)] == [0, 1, 7]
    assert (BRANCHED.arms(7), BRANCHED.arms(2)) == (((5, False), (6, True)), ())


def test_one_decision_asks_what_it_may_come_to_and_no_more():
    asked = {number: [one.number for one in BRANCHED.asked(number)] for number in (0, 5, 6, 9, 2)}
    assert asked == {0: [], 5: [5, 6], 6: [6], 9: [], 2: []}
    assert plan(email(0), email(1)).asked(0) == ()


@pytest.mark.parametrize(
    "nodes",
    [
        [email(0), email(0)],
        [branch(0, yes=[email(1)], no=[email(1)])],
        [{"number": 0, "kind": "dance", "name": "x"}],
        [{"number": 0, "kind": "goal"}],
        [branch(0, ask={"answer": "opened"})],
        [branch(0, ask={"rule": {"field": "diagnosis", "values": ["x"]}})],
        [branch(0, ask={"opened": 1})],
        [split(0, percent=0)],
        [split(0, percent=100)],
        [split(0, percent="half")],
        [split(0) | {"draw": ""}],
        [branch(1, yes=[branch(2, yes=[branch(3, yes=[branch(4, yes=[branch(5, yes=[branch(6)])])])])])],
    ],
)
def test_what_cannot_be_read(nodes):
    with pytest.raises(ValueError, match=r"."):
        plan(*nodes)


def test_a_split_draws_its_share_and_each_person_once():
    share = plan(split(5)).branches[0].question
    assert isinstance(share, Share)
    drawn = {who for who in range(10_000) if share.holds(who)}
    assert 2_850 < len(drawn) < 3_150
    assert drawn == {who for who in range(10_000) if Share(30, "7:5").holds(who)}
    assert drawn < {who for who in range(10_000) if Share(50, "7:5").holds(who)}  # a larger share keeps them
    other = {who for who in range(10_000) if Share(30, "8:5").holds(who)}
    assert 800 < len(drawn & other) < 1_000  # another draw is independent
