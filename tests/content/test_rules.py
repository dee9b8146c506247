"""Who may approve, until when, and what an approval is worth: as tables."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.content import rules
from crm.content.rules import ApprovalRequest

NOW = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
YES = {
    "state": "in_review",
    "author": "staff:1",
    "actor": "staff:2",
    "roles": ["clinician"],
    "kind": "clinical",
    "given": {},
    "changed": False,
    "blocked": False,
    "reviewers": 2,
}
BOTH = {"clinical": "staff:3", "compliance": "staff:4"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, None),
        ({"roles": ["admin"]}, None),
        ({"roles": ["admin"], "kind": "compliance"}, None),
        ({"roles": ["marketer"], "kind": "compliance"}, None),
        ({"roles": ["viewer", "clinician"]}, None),
        ({"kind": "compliance", "roles": ["admin"], "given": {"clinical": "staff:3"}}, None),
        ({"reviewers": 1}, None),
        ({"roles": ["marketer"]}, "role"),
        ({"roles": ["front_desk"]}, "role"),
        ({"roles": ["viewer"]}, "role"),
        ({"roles": []}, "role"),
        ({"roles": ["clinician"], "kind": "compliance"}, "role"),
        ({"roles": ["front_desk"], "kind": "compliance"}, "role"),
        ({"roles": ["viewer"], "kind": "compliance"}, "role"),
        ({"kind": "final"}, "clinical or the compliance"),
        ({"state": "draft"}, "not in review"),
        ({"state": "approved"}, "not in review"),
        ({"state": "retired"}, "not in review"),
        ({"actor": "staff:1"}, "You wrote"),
        ({"actor": "staff:1", "roles": ["admin"]}, "You wrote"),
        ({"actor": "staff:1", "roles": ["admin"], "reviewers": 1}, "You wrote"),
        ({"given": {"clinical": "staff:3"}}, "is already given"),
        ({"given": {"clinical": "staff:2"}, "kind": "compliance", "roles": ["admin"]}, "second person"),
        ({"changed": True}, "changed after"),
        ({"blocked": True}, "found problems"),
        ({"reviewers": 1, "kind": "compliance", "roles": ["admin"]}, "one reviewer"),
    ],
)
def test_who_may_approve(values, words):
    found = rules.approval_problem(ApprovalRequest(**{**YES, **values}))
    assert (found is None) if words is None else (words in (found or ""))


@given(
    st.sampled_from(["draft", "in_review", "approved", "retired"]),
    st.sampled_from(["staff:1", "staff:2"]),
    st.sets(st.sampled_from(["admin", "marketer", "front_desk", "clinician", "viewer"])),
    st.sampled_from(["clinical", "compliance"]),
    st.sampled_from([1, 2]),
)
def test_the_author_never_approves_whatever_else_is_true(state, actor, roles, kind, reviewers):
    asked = ApprovalRequest(
        **{
            **YES,
            "state": state,
            "author": actor,
            "actor": actor,
            "roles": roles,
            "kind": kind,
            "reviewers": reviewers,
        }
    )
    assert rules.approval_problem(asked) is not None


@pytest.mark.parametrize(
    ("given_kinds", "reviewers", "done"),
    [
        ([], 2, False),
        (["clinical"], 2, False),
        (["compliance"], 2, False),
        (["clinical", "compliance"], 2, True),
        (["clinical"], 1, True),
        (["compliance"], 1, False),
        ([], 1, False),
    ],
)
def test_when_it_is_approved(given_kinds, reviewers, done):
    assert rules.is_complete(given_kinds, reviewers=reviewers) is done


@given(st.integers())
def test_no_approval_lasts_longer_than_twelve_months(months):
    assert NOW < rules.expiry(NOW, months=months) <= NOW + timedelta(days=365)


@pytest.mark.parametrize(
    ("state", "changed", "days", "superseded", "found"),
    [
        ("draft", True, None, False, "draft"),
        ("in_review", False, None, False, "in_review"),
        ("retired", True, -1, True, "retired"),
        ("approved", False, 100, False, "approved"),
        ("approved", False, None, False, "approved"),
        ("approved", False, 31, False, "approved"),
        ("approved", False, 30, False, "expiring"),
        ("approved", False, 0, False, "expired"),
        ("approved", False, -5, False, "expired"),
        ("approved", True, 100, False, "void"),
        ("approved", True, -5, False, "void"),
        ("approved", True, 100, True, "superseded"),
    ],
)
def test_what_a_version_is_worth(state, changed, days, superseded, found):
    ends = NOW + timedelta(days=days) if days is not None else None
    assert rules.status(state, changed=changed, expires_at=ends, superseded=superseded, now=NOW) == found


@pytest.mark.parametrize(
    ("changed", "days", "found"), [(False, 9, "outdated"), (True, 9, "void"), (False, -1, "expired")]
)
def test_a_newer_block_counts_after_what_stops_mail(changed, days, found):
    ends = NOW + timedelta(days=days)
    said = rules.status(
        "approved", changed=changed, expires_at=ends, superseded=False, now=NOW, older_block=True
    )
    assert said == found


@pytest.mark.parametrize(
    ("left", "mark"),
    [
        (timedelta(days=31), None),
        (timedelta(days=30, seconds=1), None),
        (timedelta(days=30), 30),
        (timedelta(days=8), 30),
        (timedelta(days=7), 7),
        (timedelta(seconds=1), 7),
        (timedelta(0), 0),
        (timedelta(days=-90), 0),
    ],
)
def test_when_staff_are_reminded(left, mark):
    assert rules.reminder_due(NOW + left, now=NOW) == mark


def test_text_without_an_end_reminds_nobody():
    assert rules.reminder_due(None, now=NOW) is None
