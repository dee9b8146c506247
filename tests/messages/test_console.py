"""The pages about mail: one click stops everything, and the caps are set where they are seen."""

import pytest
from sqlalchemy import select, update

from crm.core.db import db, transaction
from crm.messages.limits import switches
from crm.messages.models import SendingControl
from tests.messages.test_engine import deliver_all, enrolled, plan
from tests.support.browser_client import signed_in

PACE = "/console/mail/pace"


@pytest.fixture
def admin(outbox, client, app):
    return signed_in(app, "admin")


def test_stop_and_release_in_the_console(admin, outbox, app):
    enrolled()
    plan()
    admin.get("/console/mail")
    assert admin.post("/console/mail/stop").status_code == 302
    assert deliver_all(app) == ["nothing"]
    page = admin.get("/console/mail").text
    assert "Stopped by Admin" in page
    assert admin.post("/console/mail/release").status_code == 302
    assert deliver_all(app) == ["accepted"]
    assert "All sending is stopped" not in admin.get("/console/mail").text


def test_a_held_copy_says_why_and_what_a_release_means(admin, outbox, app):
    with transaction():
        db.session.execute(update(SendingControl).values(place="/somewhere/else"))
        switches.heartbeat(guard_silence=True)
    page = admin.get("/console/mail").text
    assert "its mark names /somewhere/else" in page
    assert "If it is a copy, leave sending stopped." in page
    assert (
        page.count("copied or moved")
        == page.count("All sending is stopped: The database was copied or moved") + 1
    )
    assert admin.post("/console/mail/release").status_code == 302
    page = admin.get("/console/mail").text
    assert "If it is a copy" not in page


def test_caps_are_set_and_shown(admin, outbox, app):
    page = admin.get(PACE).text
    assert "no limit" in page
    typed = {
        "per_minute": "1,000", "per_day": "", "ramp_from": "2026-03-02", "domains": "Gmail.com 500\r\n@yahoo.com: 20\r\n\r\n",
    }  # fmt: skip
    assert admin.post(PACE, typed).status_code == 302
    row = db.session.execute(select(SendingControl)).scalar_one()
    assert (row.per_minute, row.per_day, row.domain_caps) == (
        1_000,
        None,
        {"gmail.com": 500, "yahoo.com": 20},
    )
    assert row.ramp_from.isoformat() == "2026-03-02T00:00:00+00:00"
    enrolled()
    plan()
    deliver_all(app)
    page = admin.get(PACE).text
    assert "at most 300 emails today" in page
    assert "gmail.com 500\nyahoo.com 20" in page
    assert "of 300" in page
    assert "Not enough data" in page
    assert admin.post(PACE, dict.fromkeys(typed, "")).status_code == 302
    assert db.session.scalar(select(SendingControl.ramp_from)) is None


@pytest.mark.parametrize(
    "typed",
    [
        {"per_minute": "0"},
        {"per_day": "many"},
        {"per_day": "99999999999"},
        {"ramp_from": "yesterday"},
        {"domains": "gmail.com"},
        {"domains": "gmail 5"},
        {"domains": "gmail.com 0"},
        {"domains": "\n".join(f"d{n}.example 5" for n in range(21))},
    ],
)
def test_what_is_no_cap_is_explained_and_kept(admin, typed):
    admin.get(PACE)
    answer = admin.post(PACE, {"per_minute": "", "per_day": "", "ramp_from": "", "domains": "", **typed})
    assert answer.status_code == 422
    assert 'id="error-summary-title"' in answer.text
    assert next(iter(typed.values())).split("\n")[0] in answer.text
