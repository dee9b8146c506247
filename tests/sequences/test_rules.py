"""Due times and decisions: tables for what people argue about, a brute-force oracle for the rest."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.messages.limits.send_window import Window, into_window
from crm.messages.rules import Answer
from crm.sequences.plan_graph import (
    Answered,
    Branch,
    Ending,
    EndKind,
    Pause,
    Plan,
    Step,
    Wait,
    add_wait,
    due_after,
    plan_from,
)
from crm.sequences.rules import BY_PLAN, Decision, Facts, dates, decide

LA, DENVER, KOLKATA = ZoneInfo("America/Los_Angeles"), ZoneInfo("America/Denver"), ZoneInfo("Asia/Kolkata")
OFFICE = Window(time(9), time(17), frozenset(range(5)))
NIGHT = Window(time(22), time(6), frozenset({4}))  # opens on Fridays


def at(text: str, zone: ZoneInfo = LA) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("moment", "window", "zone", "expected"),
    [
        ("2026-03-03 10:00", OFFICE, LA, "2026-03-03 10:00"),  # inside: at once
        ("2026-03-03 08:59", OFFICE, LA, "2026-03-03 09:00"),
        ("2026-03-03 17:00", OFFICE, LA, "2026-03-04 09:00"),  # the end is outside
        ("2026-03-06 18:00", OFFICE, LA, "2026-03-09 09:00"),  # Friday evening: Monday, across the change
        ("2026-10-30 18:00", OFFICE, LA, "2026-11-02 09:00"),  # the same in autumn
        ("2026-03-07 01:30", NIGHT, LA, "2026-03-07 01:30"),  # Saturday night belongs to Friday's window
        ("2026-03-07 06:00", NIGHT, LA, "2026-03-13 22:00"),
        ("2026-03-03 12:00", OFFICE, KOLKATA, "2026-03-03 12:00"),
    ],
)
def test_into_window(moment, window, zone, expected):
    assert into_window(at(moment, zone), window, zone) == at(expected, zone)


@pytest.mark.parametrize(
    ("moment", "wait", "expected"),
    [
        ("2026-03-07 09:30", Wait(2, "days"), "2026-03-09 09:30"),  # 47 real hours
        ("2026-10-31 09:30", Wait(1, "days"), "2026-11-01 09:30"),  # 25 real hours
        ("2026-03-07 02:30", Wait(1, "days"), "2026-03-08 03:30"),  # 2:30 does not exist that day
        ("2026-01-31 09:00", Wait(4, "weeks"), "2026-02-28 09:00"),
        ("2026-03-07 23:00", Wait(4, "hours"), "2026-03-08 04:00"),
    ],
)
def test_waits_keep_the_wall_clock(moment, wait, expected):
    assert add_wait(at(moment), wait, LA) == at(expected)


windows = st.builds(
    Window,
    st.times().map(lambda t: t.replace(second=0, microsecond=0, minute=t.minute // 30 * 30)),
    st.times().map(lambda t: t.replace(second=0, microsecond=0, minute=t.minute // 30 * 30 + 15)),
    st.frozensets(st.integers(0, 6), min_size=1),
)
moments = st.datetimes(datetime(2026, 2, 20), datetime(2026, 11, 20), timezones=st.just(UTC)).map(
    lambda m: m.replace(second=0, microsecond=0, minute=m.minute // 15 * 15)
)
zones = st.sampled_from([LA, DENVER, KOLKATA, ZoneInfo("America/St_Johns"), ZoneInfo("Australia/Lord_Howe")])


def inside(moment: datetime, window: Window, zone: ZoneInfo) -> bool:
    """Brute force: is there a day whose opening and closing wall-clock times enclose the moment?"""
    local_day = moment.astimezone(zone).date()
    for offset in (-1, 0, 1):
        day = local_day + timedelta(days=offset)
        if day.weekday() not in window.weekdays:
            continue
        last = day if window.start < window.end else day + timedelta(days=1)
        opens = datetime.combine(day, window.start, zone).astimezone(UTC)
        if opens <= moment < datetime.combine(last, window.end, zone).astimezone(UTC):
            return True
    return False


@given(moments, windows, zones)
def test_into_window_against_brute_force(moment, window, zone):
    found = into_window(moment, window, zone)
    expected = moment
    while not inside(expected, window, zone):
        expected += timedelta(minutes=15)
    assert found == expected


# the numbers differ from the places: an email that moved keeps its own
PLAN = Plan(
    OFFICE, (Step("a", Wait(0, "days"), 0), Step("b", Wait(2, "days"), 7), Step("c", Wait(3, "days"), 2))
)
NOW = at("2026-03-03 10:00")


def facts(**changes) -> Facts:
    given = {
        "step": 0, "zone": LA, "refusal": None, "refused_until": None,
        "content": True, "capped_until": None, "send_now": False,
    }  # fmt: skip
    return Facts(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "now", "expected"),
    [
        ({}, NOW, Decision("send", at("2026-03-05 10:00"), next_step=7)),
        ({"step": 7}, NOW, Decision("send", at("2026-03-06 10:00"), next_step=2)),
        ({"step": 2}, NOW, Decision("send", next_step=8, last=True)),
        ({"step": 3}, NOW, Decision("complete")),
        ({"refusal": "opted_out"}, NOW, Decision("exit", reason="opted_out")),
        (
            {"refusal": "snoozed", "refused_until": at("2026-03-07 12:00")},
            NOW,
            Decision("wait", at("2026-03-09 09:00"), "snoozed"),
        ),
        ({"content": False}, NOW, Decision("hold", reason="content_not_approved")),
        (
            {"capped_until": at("2026-03-04 11:00")},
            NOW,
            Decision("wait", at("2026-03-04 11:00"), "frequency_cap"),
        ),
        (
            {"capped_until": at("2026-03-01 11:00")},
            NOW,
            Decision("send", at("2026-03-05 10:00"), next_step=7),
        ),
        ({}, at("2026-03-03 19:00"), Decision("wait", at("2026-03-04 09:00"))),
        ({"send_now": True}, at("2026-03-03 19:00"), Decision("send", at("2026-03-06 09:00"), next_step=7)),
    ],
)
def test_decide(changes, now, expected):
    assert decide(PLAN, facts(**changes), now) == expected


@given(moments, zones)
def test_six_emails_come_in_order_and_in_hours(entered, zone):
    found = dates(PLAN, entered=entered, zone=zone)
    assert found == sorted(found)
    assert found[0] >= entered
    assert all(inside(moment, OFFICE, zone) for moment in found)
    assert found[1] == due_after(found[0], PLAN.steps[1], OFFICE, zone)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"window": {"start": "09:00", "end": "09:00", "weekdays": [0]}, "steps": []},
        {"window": {"start": "09:00", "end": "17:00", "weekdays": []}, "steps": []},
        {"window": {"start": "9 am", "end": "17:00", "weekdays": [0]}, "steps": []},
        {
            "window": {"start": "09:00", "end": "17:00", "weekdays": [0]},
            "steps": [{"item": "a", "wait": {"amount": 1, "unit": "months"}}],
        },
    ],
)
def test_a_broken_plan_is_refused(broken):
    with pytest.raises(ValueError, match=r"window|weekday|wait|lacks|Invalid"):
        plan_from(broken)


BRANCHED = Plan(
    OFFICE,
    (
        Step("a", Wait(0, "days"), 0),
        Branch(
            Answered(Answer.NOT_NOW),
            Wait(2, "days"),
            5,
            yes=(Pause(Wait(4, "weeks"), 6), Ending(EndKind.EXIT, "later", 7)),
            no=(Step("b", Wait(0, "days"), 1), Ending(EndKind.GOAL, "read all", 8)),
        ),
    ),
)
LATER = at("2026-03-31 10:00")


@pytest.mark.parametrize(
    ("changes", "now", "expected"),
    [
        ({}, NOW, Decision("send", at("2026-03-05 10:00"), next_step=5)),
        (  # no: the email of that arm at once, and its end
            {"step": 5},
            NOW,
            Decision(
                "send",
                next_step=8,
                last=True,
                email=1,
                ending=Ending(EndKind.GOAL, "read all", 8),
                passages=((5, False),),
            ),
        ),
        (
            {"step": 5, "holds": frozenset({5})},
            NOW,
            Decision("pass", LATER, next_step=6, passages=((5, True),)),
        ),
        (  # out of hours: at the email, when the window opens
            {"step": 5},
            at("2026-03-03 20:00"),
            Decision("pass", at("2026-03-04 09:00"), next_step=1, passages=((5, False),)),
        ),
        (
            {"step": 5, "content": False},
            NOW,
            Decision("hold", reason="content_not_approved", next_step=1, passages=((5, False),)),
        ),
        (
            {"step": 5, "capped_until": at("2026-03-05 09:30")},
            NOW,
            Decision("wait", at("2026-03-05 09:30"), "frequency_cap", next_step=1, passages=((5, False),)),
        ),
        ({"step": 5, "refusal": "opted_out"}, NOW, Decision("exit", reason="opted_out")),
        (
            {"step": 6},
            LATER,
            Decision("exit", reason=BY_PLAN, next_step=7, ending=Ending(EndKind.EXIT, "later", 7)),
        ),
    ],
)
def test_branches(changes, now, expected):
    found = decide(BRANCHED, facts(**changes), now)
    assert found == expected
    assert found.goes_on == (found.next_step is not None)


def test_staff_send_the_email_behind_a_branch_at_any_hour():
    found = decide(BRANCHED, facts(step=5, send_now=True), at("2026-03-03 20:00"))
    assert (found.act, found.email, found.state) == ("send", 1, "completed")
