"""Lead stages: every move of both tables; attribution."""

from datetime import UTC, datetime, timedelta

import pytest

from crm.leads import rules
from crm.leads.rules import CONTACT_REQUEST, REFERRAL, STAGES, Deadline
from tests.support.calendars import OFFICE

ENDS = {
    CONTACT_REQUEST: {"patient", "not_a_fit", "lost", "spam"},
    REFERRAL: {"closed", "duplicate", "entered_in_error"},
}

# Row: where from; then every stage that may follow, written out a second time so that a slip in the table shows.
ALLOWED = {
    CONTACT_REQUEST: {
        "new": "unconfirmed confirmed contacted not_a_fit lost spam",
        "unconfirmed": "confirmed contacted not_a_fit lost spam",
        "confirmed": "contacted not_a_fit lost spam",
        "contacted": "qualified not_a_fit lost spam",
        "qualified": "consult_scheduled not_a_fit lost",
        "consult_scheduled": "consult_done qualified not_a_fit lost",
        "consult_done": "patient not_a_fit lost",
        "patient": "",
        "not_a_fit": "contacted",
        "lost": "contacted",
        "spam": "new unconfirmed confirmed contacted",
    },
    REFERRAL: {
        "received": "in_review info_requested accepted declined duplicate entered_in_error",
        "in_review": "info_requested accepted declined duplicate entered_in_error",
        "info_requested": "in_review accepted declined duplicate entered_in_error",
        "accepted": "contacting scheduled declined duplicate entered_in_error",
        "declined": "closed in_review",
        "contacting": "scheduled unable_to_reach patient_declined duplicate entered_in_error",
        "unable_to_reach": "closed contacting",
        "patient_declined": "closed contacting",
        "scheduled": "seen no_show cancelled rescheduled patient_declined entered_in_error",
        "no_show": "contacting",
        "cancelled": "contacting",
        "rescheduled": "contacting scheduled",
        "seen": "report_sent",
        "report_sent": "closed",
        "closed": "",
        "duplicate": "",
        "entered_in_error": "",
    },
}
PAIRS = [(kind, was, to) for kind in rules.KINDS for was in STAGES[kind] for to in STAGES[kind]]


def any_reason(kind, to):
    return min(STAGES[kind][to].reasons, default=None)


@pytest.mark.parametrize(("kind", "was", "to"), PAIRS)
def test_every_pair_of_stages(kind, was, to):
    why_not = rules.move_refusal(kind=kind, was=was, to=to, reason=any_reason(kind, to), outcome_sent=True)
    assert (why_not is None) == (to in ALLOWED[kind][was].split())


@pytest.mark.parametrize("kind", rules.KINDS)
def test_stages_lead_only_to_stages(kind):
    stages = STAGES[kind]
    assert {name for name, stage in stages.items() if stage.ends} == ENDS[kind]
    start = rules.first_stage(kind)
    reached, edge = {start}, {start}
    while edge:
        edge = {to for name in edge for to in stages[name].to} - reached
        reached |= edge
    assert reached == set(stages)


@pytest.mark.parametrize(
    ("kind", "was", "to"),
    [(kind, was, to) for kind, was, to in PAIRS if to in STAGES[kind][was].to and STAGES[kind][to].reasons],
)
def test_reason_required(kind, was, to):
    for reason in (None, "", "because"):
        assert "needs a reason" in rules.move_refusal(
            kind=kind, was=was, to=to, reason=reason, outcome_sent=True
        )


def test_reason_not_allowed():
    assert "takes no reason" in rules.move_refusal(
        kind=REFERRAL, was="received", to="in_review", reason="other"
    )


@pytest.mark.parametrize("was", ["declined", "unable_to_reach", "patient_declined", "report_sent"])
def test_closing_needs_outcome(was):
    assert "outcome" in rules.move_refusal(kind=REFERRAL, was=was, to="closed")
    assert rules.move_refusal(kind=REFERRAL, was=was, to="closed", outcome_sent=True) is None


def test_report_sent_needs_outcome():
    assert "outcome" in rules.move_refusal(kind=REFERRAL, was="seen", to="report_sent")


def test_unknown_stage():
    assert rules.move_refusal(kind=REFERRAL, was="received", to="lost") == "Stage not found."


def test_first_stage():
    assert rules.first_stage(REFERRAL) == "received"
    assert rules.first_stage(CONTACT_REQUEST) == "new"
    assert rules.first_stage(CONTACT_REQUEST, asked_to_confirm=True) == "unconfirmed"


def test_due_at():
    now = datetime(2026, 3, 3, 17, tzinfo=UTC)
    assert rules.due_at(kind=CONTACT_REQUEST, stage="new", since=now, calendar=OFFICE) == now + timedelta(
        hours=1
    )
    assert rules.due_at(kind=REFERRAL, stage="received", since=now, calendar=OFFICE) == now + timedelta(
        days=1
    )
    assert rules.due_at(kind=REFERRAL, stage="seen", since=now, calendar=OFFICE) == datetime(
        2026, 3, 10, 16, tzinfo=UTC
    )
    assert rules.due_at(kind=REFERRAL, stage="info_requested", since=now, calendar=OFFICE) is None
    assert not [name for kind in rules.KINDS for name in ENDS[kind] if STAGES[kind][name].within]


def test_external_codes():
    tasks = "requested received accepted rejected ready in-progress on-hold failed completed cancelled entered-in-error"
    assert set(rules.REFERRAL_CODES) == set(STAGES[REFERRAL])
    assert {codes.task for codes in rules.REFERRAL_CODES.values()} <= set(tasks.split())
    bser = {"2.0", "3.0", "4.0", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "6.0", "7.0"}
    assert {codes.bser for codes in rules.REFERRAL_CODES.values()} == bser | {None}


def test_first_touch():
    told = {
        "utm_source": "news\nletter",
        "utm_campaign": "x" * 200,
        "utm_id": "dropped",
        "landing_page": "/pain?email=ana@example.com#top",
        "referring_host": "",
        "utm_term": None,
    }
    assert rules.first_touch(told) == {
        "utm_source": "news letter",
        "utm_campaign": "x" * 100,
        "landing_page": "/pain",
    }
    assert rules.first_touch({}) is None


HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 3, 20, tzinfo=UTC)  # a Tuesday in Los Angeles


@pytest.mark.parametrize(
    ("kind", "was", "to", "clock", "after"),
    [
        # a confirmation is not a staff action: the deadline stays
        (CONTACT_REQUEST, "unconfirmed", "confirmed", Deadline(due_at=NOON - HOUR), Deadline(due_at=NOON - HOUR)),
        (CONTACT_REQUEST, "spam", "new", Deadline(due_at=None), Deadline(due_at=NOON + HOUR)),
        (CONTACT_REQUEST, "confirmed", "contacted", Deadline(due_at=NOON), Deadline(due_at=NOON + timedelta(days=2))),
        (REFERRAL, "received", "info_requested", Deadline(due_at=NOON + 3 * HOUR), Deadline(due_at=None, left=3 * HOUR)),
        (REFERRAL, "received", "info_requested", Deadline(due_at=NOON - HOUR), Deadline(due_at=None, left=0 * HOUR)),
        (REFERRAL, "info_requested", "in_review", Deadline(due_at=None, left=3 * HOUR), Deadline(due_at=NOON + 3 * HOUR)),
        (REFERRAL, "info_requested", "in_review", Deadline(due_at=None, left=0 * HOUR), Deadline(due_at=NOON + HOUR)),
        (REFERRAL, "info_requested", "accepted", Deadline(due_at=None, left=HOUR), Deadline(due_at=NOON + timedelta(days=1))),
    ],
)  # fmt: skip
def test_deadline_after(kind, was, to, clock, after):
    assert rules.deadline_after(kind=kind, was=was, to=to, now=NOON, deadline=clock, calendar=OFFICE) == after
