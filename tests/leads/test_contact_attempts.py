"""When enough attempts were made to close a lead as unreachable."""

from datetime import UTC, datetime, timedelta

import pytest

from crm.audit import service as audit
from crm.core.errors import Conflict
from crm.leads import call_log, contact_attempts
from crm.leads.contact_attempts import Attempt
from tests.leads.test_service import lead, move, referral, user  # noqa: F401 - fixtures

NOW = datetime(2026, 3, 10, 17, tzinfo=UTC)
DAY = timedelta(days=1)


def tried(*marks: str) -> list[Attempt]:
    """("7 phone", "3 letter reached"): days ago, way, outcome."""
    return [
        Attempt(at=NOW - int(days) * DAY, channel=way, outcome=(rest or ["no_answer"])[0])
        for days, way, *rest in (mark.split() for mark in marks)
    ]


@pytest.mark.parametrize(
    ("made", "missing"),
    [
        ((), ["3 attempts (so far 0)", "2 channels", "7 days"]),
        (("8 phone", "5 letter"), ["3 attempts (so far 2)"]),
        (("8 phone", "5 phone", "1 phone"), ["2 channels"]),
        (("6 phone", "5 letter", "1 phone"), ["7 days"]),
        (("7 phone", "5 letter", "0 phone"), []),
        (
            ("9 phone", "8 letter", "7 phone reached", "1 phone"),
            ["3 attempts (so far 1)", "2 channels", "7 days"],
        ),
    ],
)
def test_missing_attempts(made, missing):
    why = contact_attempts.missing_attempts(tried(*made), now=NOW) or ""
    assert [word for word in ("3 attempts", "2 channels", "7 days") if word in why] == [
        word for word in ("3 attempts", "2 channels", "7 days") if any(word in part for part in missing)
    ]
    assert all(part in why for part in missing)


def log(lead, outcome="no_answer", channel="phone", **more):  # noqa: F811
    with audit.acting("staff:7"):
        return call_log.log_call(lead_id=lead.id, channel=channel, outcome=outcome, **more)


def test_cannot_close_as_unreachable_too_early(referral, lead, clock):  # noqa: F811
    move(referral, "accepted", "contacting")
    for way in ("phone", "letter", "phone"):
        log(referral, channel=way)
    with pytest.raises(Conflict, match="7 days since"):
        move(referral, "unable_to_reach:no_answer")
    with pytest.raises(Conflict, match="3 attempts"):
        move(lead, "lost:no_answer")
    clock.shift(7 * 24 * 3600)
    move(referral, "unable_to_reach:no_answer")
    assert referral.stage == "unable_to_reach"


def test_wrong_number_needs_an_attempt(lead):  # noqa: F811
    with pytest.raises(Conflict, match="First log the attempt"):
        move(lead, "lost:wrong_number")
    log(lead, "wrong_number")
    move(lead, "lost:wrong_number")
    assert lead.stage == "lost"
