"""Lead scores."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from crm.leads.scoring import LeadFacts, score

NOW = datetime(2026, 3, 3, 17, tzinfo=UTC)
PLAIN = LeadFacts(
    kind="contact_request", urgency=None, created_at=NOW - timedelta(days=5), has_phone=False, has_email=True, has_message=False,
    heard_from=None, has_consent=False, reached=False, attempts=0, booked=False, missed=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "total"),
    [
        ({}, 5), ({"kind": "referral", "urgency": "urgent"}, 50), ({"heard_from": "friend"}, 15), ({"heard_from": "search"}, 5),
        ({"kind": "referral", "heard_from": "doctor"}, 35), ({"has_message": True, "has_phone": True}, 25),
        ({"has_consent": True}, 20), ({"reached": True, "attempts": 5}, 20), ({"booked": True}, 25),
        ({"created_at": NOW}, 15), ({"created_at": NOW - timedelta(days=31)}, 0), ({"missed": True}, 0),
        ({"attempts": 3, "has_phone": True}, 0),
    ],
)  # fmt: skip
def test_points(change, total):
    assert score(replace(PLAIN, **change), now=NOW).total == total


@given(
    some.builds(
        LeadFacts,
        kind=some.sampled_from(["contact_request", "referral"]),
        urgency=some.sampled_from([None, "routine", "urgent"]),
        created_at=some.datetimes(datetime(2025, 1, 1), datetime(2026, 3, 3), timezones=some.just(UTC)),
        heard_from=some.sampled_from([None, "doctor", "friend", "search"]),
        attempts=some.integers(0, 9),
    )
)
def test_total_is_sum_of_parts(known):
    found = score(known, now=NOW)
    assert found.total == max(0, min(100, sum(part.points for part in found.parts)))
    assert len({part.why for part in found.parts}) == len(found.parts)
