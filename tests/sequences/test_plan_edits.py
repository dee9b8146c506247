"""Edits of a plan: each gives a whole plan, keeps numbers with their emails, and refuses what cannot be."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm.core.errors import Conflict, Invalid
from crm.sequences import plan_edits
from crm.sequences.plan_edits import AT_ONCE, EMPTY, FIRST, MOST_STEPS, UNTRANSLATED, Finding
from crm.sequences.plan_graph import Wait, plan_from, stored_nodes

WINDOW = {"start": "09:00", "end": "17:00", "weekdays": [0, 1, 2]}
DAY, LANGUAGES = Wait(1, "days"), {"en": "English", "es": "Spanish"}


def step(item: str, days: int = 1) -> dict:
    return {"item": item, "wait": {"amount": days, "unit": "days"}}


def shipped(*items: str) -> dict:
    return {
        "window": WINDOW,
        "steps": [step(item) for item in items],
        "entry": "consent_given",
        "exit_on": [],
    }


def draft(*items: str) -> dict:
    return plan_edits.numbered(shipped(*items), earlier=[shipped(*items)])


def order(plan: dict) -> list[tuple[str, int]]:
    return [(node["item"], node["number"]) for node in stored_nodes(plan)]


def test_a_draft_keeps_numbers_dates_and_the_rest_of_the_plan():
    plan = draft("a", "b")
    assert order(plan) == [("a", 0), ("b", 1)]
    assert plan_from(plan) == plan_from(shipped("a", "b"))
    assert (plan["entry"], plan["exit_on"], "steps" in plan) == ("consent_given", [], False)


def test_numbers_that_files_gave_to_two_emails_are_given_anew():
    old, new = shipped("a", "b"), shipped("a", "x", "b")
    assert order(plan_edits.numbered(new, earlier=[old, new])) == [("a", 0), ("x", 3), ("b", 4)]


ABC = draft("a", "b", "c")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda p: plan_edits.add(p, item="x", wait=DAY, after=FIRST, number=3), "xabc"),
        (lambda p: plan_edits.add(p, item="x", wait=DAY, after=1, number=3), "abxc"),
        (lambda p: plan_edits.move(p, 2, by=-1), "acb"),
        (lambda p: plan_edits.move(p, 0, by=1), "bac"),
        (lambda p: plan_edits.move(p, 0, by=-1), "abc"),
        (lambda p: plan_edits.remove(p, 1), "ac"),
        (lambda p: plan_edits.retime(p, 1, wait=Wait(5, "hours")), "abc"),
    ],
)
def test_edits(edit, expected):
    plan = edit(ABC)
    assert "".join(item for item, _ in order(plan)) == expected
    numbers = dict(order(ABC)) | {"x": 3}
    assert all(numbers[item] == number for item, number in order(plan))
    plan_from(plan)
    assert order(ABC) == [("a", 0), ("b", 1), ("c", 2)]  # a new plan, not the old one changed


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (lambda: plan_edits.add(ABC, item="a", wait=DAY, after=FIRST, number=9), Invalid),
        (lambda: plan_edits.add(draft(*map(str, range(MOST_STEPS))), item="x", wait=DAY, after=0, number=99), Invalid),
        (lambda: plan_edits.add(ABC, item="x", wait=DAY, after=7, number=9), Conflict),
        (lambda: plan_edits.add(ABC, item="x", wait=DAY, after=(0, True), number=9), Conflict),  # no branch
        (lambda: plan_edits.remove(ABC, 7), Conflict),
        (lambda: plan_edits.wait_from("2", "months"), Invalid),
        (lambda: plan_edits.wait_from("366", "days"), Invalid),
        (lambda: plan_edits.wait_from("-1", "days"), Invalid),
        (lambda: plan_edits.wait_from("٣", "days"), Invalid),
    ],
)  # fmt: skip
def test_refusals(edit, error):
    with pytest.raises(error):
        edit()


EN, ES = ("a", "en"), ("a", "es")


@pytest.mark.parametrize(
    ("plan", "approved", "expected"),
    [
        (draft(), [], [Finding(message=EMPTY, blocks=True)]),
        (draft("a"), [EN, ES], []),
        (draft("a"), [EN], [Finding(message=UNTRANSLATED, values={"language": "Spanish"}, number=0)]),
        (
            draft("a", "b"),
            [EN, ("b", "es")],  # no language has both
            [
                Finding(message=UNTRANSLATED, values={"language": "Spanish"}, number=0, blocks=True),
                Finding(message=UNTRANSLATED, values={"language": "English"}, number=1, blocks=True),
            ],
        ),
        (
            plan_edits.retime(draft("a", "b"), 1, wait=Wait(0, "days")),
            [EN, ES, ("b", "en"), ("b", "es")],
            [Finding(message=AT_ONCE, number=1)],
        ),
    ],
)
def test_findings(plan, approved, expected):
    assert plan_edits.findings(plan, approved=approved, languages=LANGUAGES) == expected


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda p: p, (set(), set(), set(), ())),
        (lambda p: plan_edits.add(p, item="x", wait=DAY, after=0, number=3), ({3}, set(), set(), ())),
        (lambda p: plan_edits.move(p, 0, by=2), (set(), {0}, set(), ())),  # one moved, not two
        (lambda p: plan_edits.retime(p, 1, wait=Wait(2, "days")), (set(), set(), {1}, ())),
        (lambda p: plan_edits.remove(p, 1), (set(), set(), set(), ("b",))),
    ],
)
def test_changes(edit, expected):
    found = plan_edits.changes(shipped("a", "b", "c"), edit(ABC))
    assert (set(found.added), set(found.moved), set(found.retimed), found.removed) == expected


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault of the edits
@given(
    st.lists(st.tuples(st.sampled_from("amrx"), st.integers(0, 9), st.sampled_from("abcdef")), max_size=12)
)
def test_no_edits_ever_give_one_number_to_two_emails(edits):
    versions = [shipped("a", "b", "c")]
    plan = draft("a", "b", "c")
    for kind, number, item in edits:
        try:
            if kind == "a":
                earlier = [*versions, plan]
                given_number = plan_edits.number_of_item(earlier).get(item, plan_edits.next_number(earlier))
                plan = plan_edits.add(plan, item=item, wait=DAY, after=FIRST, number=given_number)
            elif kind == "m":
                plan = plan_edits.move(plan, number, by=1)
            elif kind == "r":
                plan = plan_edits.remove(plan, number)
            else:
                versions.append(plan)  # published
        except (Invalid, Conflict):
            continue
    items: dict[int, set[str]] = {}
    for one in [*versions, plan]:
        for name, number in order(one):
            items.setdefault(number, set()).add(name)
    assert all(len(names) == 1 for names in items.values())
