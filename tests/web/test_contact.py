"""The public contact form over HTTP."""

import base64
import json
import re

import pytest
from altcha import solve_challenge_v1
from sqlalchemy import select

from crm.db import db
from crm.leads.models import Lead
from tests import makers


@pytest.fixture
def browser(client):
    makers.shipped()
    return client


def solve(challenge):
    solution = solve_challenge_v1(
        challenge["challenge"], challenge["salt"], "SHA-256", challenge["maxNumber"]
    )
    answer = {key: challenge[key] for key in ("algorithm", "challenge", "salt", "signature")} | {
        "number": solution.number
    }
    return base64.b64encode(json.dumps(answer).encode()).decode()


def open_form(client, lang="en", **query):
    page = client.get("/contact", query_string={"lang": lang} | query)
    assert page.status_code == 200
    return dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', page.text))


def fill(client, lang="en", **changes):
    hidden = open_form(client, lang)
    return (
        hidden
        | {
            "first_name": "Ana",
            "last_name": "Ruiz",
            "email": "ana.ruiz@example.com",
            "phone": "(213) 555-0142",
            "language": lang,
            "state": "CA",
            "heard_from": "friend",
            "message": "Please call me.",
            "website": "",
            "altcha": solve(client.get("/contact/challenge").json),
        }
        | changes
    )


def test_contact_request_by_form(browser, clock):
    data = fill(browser)
    clock.shift(10)
    answer = browser.post("/contact", data=data)
    assert (answer.status_code, answer.location) == (303, "/contact/sent?lang=en")
    lead = db.session.scalar(select(Lead))
    assert (lead.source, lead.message, lead.stage) == ("form", "Please call me.", "new")
    assert "Thank you" in browser.get(answer.location).text
