"""A practice asks for an account: what is refused, and what is kept for staff to decide."""

import pytest
from sqlalchemy import func, select

from crm.core.db import db
from crm.intake import proof_of_work, trap
from crm.referrers.models import PortalPerson
from tests.intake.test_public import solve
from tests.support.browser_client import BrowserClient

ASKED = {
    "practice": "North Clinic", "clinician": "Dr. Ada North", "npi": "1234567893", "name": "Nina Nurse",
    "email": "nina@north.example", "phone": "213 555 0150",
}  # fmt: skip


@pytest.fixture
def visitor(database, redis, monkeypatch):
    monkeypatch.setattr(proof_of_work, "DIFFICULTY", 50)
    visitor = BrowserClient(database)
    visitor.get("/refer/join")
    return visitor


def ask(visitor, **changes):
    proof = solve(visitor.get("/contact/challenge").json)
    return visitor.post("/refer/join", {**ASKED, "altcha": proof, **changes})


@pytest.mark.parametrize(("filled", "counted"), [("", 0), ("https://north.example", 1)])
def test_a_filled_trap_is_kept_and_counted(visitor, filled, counted):
    """Password managers fill hidden fields as well as robots do: staff decide."""
    answer = ask(visitor, website=filled)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/refer/join/sent")
    assert db.session.scalar(select(func.count()).select_from(PortalPerson)) == 1
    assert trap.total() == counted


def test_a_robot_without_proof_is_refused(visitor):
    assert ask(visitor, website="x", altcha="").status_code == 422
    assert db.session.scalar(select(func.count()).select_from(PortalPerson)) == 0
