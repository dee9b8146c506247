"""What a new version means for people: a table for what people argue about, properties for the rest."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.messages.limits.send_window import Window
from crm.sequences import plan_edits, version_change
from crm.sequences.plan_graph import Branch, Ending, Plan, Step, Wait, plan_from
from crm.sequences.version_change import Fate, Group, People
from tests.sequences.test_simulator import plans

ALWAYS = Window(time(0), time(23, 59), frozenset(range(7)))
NUMBERS = {item: number for number, item in enumerate("abcdexyz")}


def plan(items: str, **days: int) -> Plan:
    return Plan(ALWAYS, tuple(Step(item, Wait(days.get(item, 2), "days"), NUMBERS[item]) for item in items))


@pytest.mark.parametrize(
    ("old", "new", "waits_for", "fate", "next_item", "gains", "passed", "loses"),
    [
        ("abc", "axbc", "b", Fate.CHANGES, "x", "x", "", ""),  # the new email comes first
        ("abc", "axbc", "c", Fate.MOVES, "c", "", "x", ""),  # they are past its place
        ("abc", "abcx", "c", Fate.MOVES, "c", "x", "", ""),  # a seventh email
        ("abc", "ac", "b", Fate.CHANGES, "c", "", "", "b"),
        ("abc", "ab", "c", Fate.ENDS, None, "", "", "c"),
        ("abc", "acb", "b", Fate.CHANGES, "c", "", "", ""),
        ("abc", "acb", "c", Fate.STAYS_FOR_ORDER, None, "", "", ""),  # c would come before b, which they had
        ("abc", "bca", "b", Fate.STAYS_FOR_ORDER, None, "", "", ""),
        ("abc", "x", "a", Fate.CHANGES, "x", "x", "", "abc"),
    ],
)
def test_who_moves_where(old, new, waits_for, fate, next_item, gains, passed, loses):
    found = version_change.outcome(plan(old), plan(new), step=NUMBERS[waits_for], people=People.MOVE)
    assert (found.fate, found.next) == (fate, plan(new).step(NUMBERS[next_item]) if next_item else None)
    assert ("".join(found.gains), "".join(found.passed), "".join(found.loses)) == (gains, passed, loses)


@pytest.mark.parametrize(
    ("new", "given_", "fate"),
    [
        (plan("abc", b=5), {}, Fate.CHANGES),  # the same email at another time
        (plan("abc", c=5), {}, Fate.MOVES),
        (plan("axbc"), {"people": People.FINISH}, Fate.STAYS),
        (plan("axbc"), {"had_again": True}, Fate.STAYS_HAD),
        (plan("axbc"), {"step": 99}, Fate.STAYS),
        (Plan(Window(time(9), time(17), frozenset({0})), plan("abc").steps), {}, Fate.CHANGES),
    ],
)
def test_who_stays(new, given_, fate):
    asked = {"step": NUMBERS["b"], "people": People.MOVE} | given_
    assert version_change.outcome(plan("abc"), new, **asked).fate is fate


orders = st.permutations("abcdexyz").flatmap(
    lambda items: st.integers(1, 8).map(lambda n: "".join(items[:n]))
)


@given(orders, orders, st.integers(0, 7))
def test_nobody_gets_an_email_twice_or_loses_one_that_stays(old, new, at):
    waits_for = old[at % len(old)]
    found = version_change.outcome(plan(old), plan(new), step=NUMBERS[waits_for], people=People.MOVE)
    had, due = old[: old.index(waits_for)], old[old.index(waits_for) :]
    if found.fate in (Fate.STAYS, Fate.STAYS_FOR_ORDER):
        return
    ahead = "".join(
        one.item for one in plan(new).steps if found.next and one.number in plan(new).ahead(found.next.number)
    )
    assert not set(ahead) & set(had)
    assert set(due) & set(new) <= set(ahead)
    assert set(due) - set(new) == set(found.loses)


def test_a_wait_counts_from_the_last_email_and_never_back():
    zone, now = ZoneInfo("America/Los_Angeles"), datetime(2026, 3, 7, 17, tzinfo=UTC)
    step = Step("x", Wait(2, "days"), 5)
    due = [
        version_change.due_in(plan("x"), step, anchor=now - timedelta(days=days), now=now, zone=zone)
        for days in (1, 30)
    ]
    assert due == [now + timedelta(hours=23), now]  # a day over the change of clocks; not a month late


def test_a_preview_counts_people():
    groups = [
        Group(version=1, step=NUMBERS["b"], had_again=False, people=7),
        Group(version=1, step=NUMBERS["c"], had_again=False, people=5),
    ]
    rows = version_change.preview(groups, {1: plan("abc")}, plan("axbc"), people=People.MOVE)
    assert [(row.waits_for, row.outcome.fate) for row in rows] == [("b", Fate.CHANGES), ("c", Fate.MOVES)]
    assert version_change.first_time(rows) == {"x": 7}


edits = st.lists(
    st.tuples(
        st.sampled_from(["adding", "removing", "moving", "wrapping"]), st.integers(0, 300), st.booleans()
    ),
    max_size=5,
)


def edited(stored: dict, changes: list[tuple[str, int, bool]]) -> dict:
    """Edit a plan as staff would, at places that the numbers pick."""
    for place, (what, pick, flag) in enumerate(changes):
        numbers = list(plan_from(stored).numbers)
        fresh = 300 + place
        if not numbers:
            return stored
        number = numbers[pick % len(numbers)]
        if what == "removing":
            stored = plan_edits.remove(stored, number)
        elif what == "moving":
            stored = plan_edits.move(stored, number, by=1 if flag else -1)
        elif what == "adding":
            stored = plan_edits.add(
                stored, item=f"new/{fresh}", wait=Wait(1, "days"), after=number, number=fresh
            )
        else:
            made = plan_edits.branch({"answer": "guide"}, wait=Wait(1, "days"), number=fresh)
            stored = plan_edits.insert(stored, made, spot=number)
            end = plan_edits.ending("exit", name="x", number=fresh + 100)
            stored = plan_edits.insert(stored, end, spot=(fresh, flag))
    return stored


@given(plans, edits, st.lists(st.booleans(), min_size=12, max_size=12), st.integers(0, 20))
def test_with_branches_nobody_gets_an_email_twice_or_takes_two_ways(stored, changes, arms, steps):
    old, new = plan_from(stored), plan_from(edited(stored, changes))
    here, had, passed = old.nodes[0] if old.nodes else None, set(), {}
    for choice in [*arms][:steps]:
        if here is None or isinstance(here, Ending):
            break
        if isinstance(here, Step):
            had.add(here.item)
        if isinstance(here, Branch):
            passed[here.number] = choice
        here = old.after(here.number, yes=isinstance(here, Branch) and choice)
    if here is None:
        return
    found = version_change.outcome(old, new, step=here.number, people=People.MOVE)
    if found.fate not in (Fate.MOVES, Fate.CHANGES, Fate.ENDS):
        return
    numbers = new.ahead(found.next.number) if found.next else frozenset()
    ahead = {step.item for step in new.steps if step.number in numbers}
    assert not ahead & had
    assert not numbers & passed.keys()  # no branch is asked twice
    around = dict(new.arms(found.next.number)) if found.next else {}
    assert all(around[branch] == arm for branch, arm in passed.items() if branch in around)
    due = {step.item for step in old.steps if step.number in old.ahead(here.number)}
    assert due & {step.item for step in new.steps} <= ahead  # nothing is lost that was not removed
