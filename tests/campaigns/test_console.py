"""Broadcasts as staff with a browser see them."""

import html

import pytest
from sqlalchemy import select

from crm.campaigns import rules
from crm.campaigns.models import Campaign
from crm.contacts import service as contacts
from crm.core.db import db, transaction
from crm.messages.limits import switches
from tests.campaigns.conftest import ITEM, audience, deliver, freeze, launched, reached
from tests.support.browser_client import signed_in

PATH = "/console/campaigns"


def text(answer) -> str:
    return " ".join(html.unescape(answer.text).split())


@pytest.fixture
def marketer(client, outbox):
    return signed_in(client.application, "marketer")


def drafted(visitor) -> str:
    visitor.get(PATH)
    answer = visitor.post(PATH, {"name": "News", "item": ITEM, "tags": "", "exclude_tags": ""})
    assert answer.status_code == 302
    return answer.location


def test_from_draft_to_the_list_of_missed_people(marketer, outbox, app):
    people = audience(3)
    page = drafted(marketer)
    assert "3 people get “" in text(marketer.get(page))
    assert marketer.post(f"{page}/launch", {"at": ""}).status_code == 302
    freeze(db.session.scalar(select(Campaign.id)))
    assert "data-refresh" in marketer.get(page).text
    for verb in ("pause", "resume"):
        assert marketer.post(f"{page}/{verb}").status_code == 302
    deliver(app)
    assert len(reached(outbox)) == len(people)
    assert marketer.post(f"{page}/cancel").status_code == 302
    assert "data-refresh" not in marketer.get(page).text
    assert "No one so far" in marketer.get(f"{page}/not-sent").text


def test_above_a_thousand_the_number_is_typed(marketer):
    audience(1_001)
    page = drafted(marketer)
    assert "Type 1,001 to confirm" in text(marketer.get(page))
    assert marketer.post(f"{page}/launch", {"typed_count": "1000"}).status_code == 422
    assert marketer.post(f"{page}/launch", {"typed_count": "1,001"}).status_code == 302


@pytest.mark.parametrize("data", [{"name": "", "item": ITEM}, {"name": "x", "item": "nothing"}])
def test_a_wrong_draft_is_explained(marketer, data):
    marketer.get(PATH)
    assert marketer.post(PATH, data).status_code == 422


@pytest.mark.parametrize("at", ["2020-01-01T10:00", "soon"])
def test_a_wrong_moment_is_explained(marketer, at):
    page = drafted(marketer)
    marketer.get(page)
    assert marketer.post(f"{page}/launch", {"at": at}).status_code == 422


@pytest.mark.parametrize("role", ["front_desk", "clinician", "viewer"])
def test_other_roles_stay_outside(client, outbox, role):
    assert signed_in(client.application, role).get(PATH).status_code == 403


@pytest.mark.parametrize(
    ("people", "per_minute", "per_day", "hours"),
    [
        (0, 1, 1, 0),
        (1_000, None, None, 0),
        (6_000, 100, None, 1),
        (200, None, 200, 0),
        (201, None, 200, 24),
        (1_000, 1, 200, 96),
    ],
)
def test_how_long_our_caps_make_it_take(people, per_minute, per_day, hours):
    assert rules.hours_needed(people, per_minute=per_minute, per_day=per_day) == hours


def test_launch_page_warns_when_limits_are_too_slow(marketer):
    audience(3)
    page = drafted(marketer)
    assert "some people would be missed" not in marketer.get(page).text
    with transaction():
        switches.set_pace(per_minute=None, per_day=1, ramp_from=None, domains={})
    assert "some people would be missed" in marketer.get(page).text


def test_before_launch_the_page_says_what_it_will_do(marketer, outbox, app):
    people = audience(3)
    with transaction():
        switches.set_pace(per_minute=100, per_day=2_000, ramp_from=None, domains={})
        contacts.add_tag(contact_id=people[0], tag="first")
    freeze(launched(tags=["first"]))
    deliver(app)
    page = text(marketer.get(drafted(marketer)))
    assert "2 people get “" in page
    assert "<dt>Had this version</dt><dd>1, left out</dd>" in page
    assert "At most 3 educational emails per person in 7 days; 100 a minute; 2,000 a day" in page
    assert "Count again" in page
    allowed = marketer.post(PATH, {"name": "News", "item": ITEM, "repeat_allowed": "yes"}).location
    page = text(marketer.get(allowed))
    assert "3 people get “" in page
    assert "<dt>Had this version</dt><dd>1, sent again</dd>" in page


def test_an_unknown_tag_is_explained_at_the_field(marketer, outbox):
    people = audience(1)
    with transaction():
        contacts.add_tag(contact_id=people[0], tag="do not mail")
    marketer.get(PATH)
    answer = marketer.post(PATH, {"name": "News", "item": ITEM, "exclude_tags": "do not male"})
    assert answer.status_code == 422
    assert "Did you mean “do not mail”?" in text(answer)


def test_a_broadcast_that_policy_refuses_has_no_launch_button(marketer, outbox):
    marketer.get(PATH)
    page = marketer.post(PATH, {"name": "News", "item": "referred-patient/01-received"}).location
    shown = text(marketer.get(page))
    assert "This broadcast cannot be launched.</strong> No mail transport may carry this email" in shown
    assert "Launch broadcast" not in shown
    assert marketer.post(f"{page}/launch", {"at": ""}).status_code == 409
