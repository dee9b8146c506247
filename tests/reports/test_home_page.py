"""Home of each role: four to six numbers that all lead to their rows, two charts, the first week."""

import re

import pytest

from crm.core.db import transaction
from crm.reports import home_page
from crm.staff import access, alerts
from jobs import reports as jobs
from tests.reports.test_console import add_lead
from tests.support import factories
from tests.support.browser_client import BrowserClient, member

TILE = re.compile(
    r'class="tile[^"]*" href="([^"]+)">\s*<span class="tile-label">([^<]+)</span>\s*<span class="tile-number">([^<]+)<'
)


def home_of(database, role: str) -> tuple[BrowserClient, str]:
    visitor = BrowserClient(database).sign_in(member(role))
    return visitor, visitor.get("/console/").text


@pytest.mark.parametrize("role", access.ROLES)
def test_each_number_leads_to_its_rows(client, database, clock, role):
    add_lead("patient")
    add_lead("received", kind="referral")
    jobs.count()
    visitor, page = home_of(database, role)
    tiles = TILE.findall(page)
    assert 4 <= len(tiles) <= 6
    assert page.count('class="chart"') == 2
    for address, label, _ in tiles:
        assert visitor.get(address.replace("&amp;", "&")).status_code == 200, label


def test_counts_the_day_that_is_now(client, database, clock):
    for days in (0, 0, 1):
        add_lead("new", days=days)
    add_lead("received", kind="referral", days=0)
    jobs.count()
    shown = {label: number for _, label, number in TILE.findall(home_of(database, "marketer")[1])}
    assert shown["New leads today"] == "3"
    shown = {label: number for _, label, number in TILE.findall(home_of(database, "clinician")[1])}
    assert shown["Referrals to review"] == "1"


def test_says_what_needs_attention(client, database, clock):
    with transaction():
        alerts.raise_alert(key="x", level="danger", text="The disk is full", link="/console/settings")
    page = home_of(database, "admin")[1]
    assert '<a href="/console/settings">The disk is full</a>' in page
    shown = home_of(database, "viewer")[1]
    assert "The disk is full" in shown
    assert "/console/settings" not in shown


def test_the_first_week_ends_when_all_is_done(client, database, clock):
    visitor, page = home_of(database, "admin")
    assert "The first week" in page
    assert page.count('class="done"') == 0
    with transaction():
        factories.shipped()
    add_lead("new")
    page = visitor.get("/console/").text
    assert page.count('class="done"') == 3
    member("front_desk")
    visitor.get("/console/referrers/new")
    visitor.post("/console/referrers/new", {"name": "Hillside", "language": "en"})
    assert "The first week" not in visitor.get("/console/").text


def test_several_roles_see_the_home_of_the_first(client, database, clock):
    user = member("marketer")
    with transaction():
        user.roles = [*user.roles, *member("viewer", email="v@clinic.example").roles]
    shown = BrowserClient(database).sign_in(user).get("/console/").text
    assert "Emails sent, 30 days" in shown
    assert set(home_page.TILES) == set(home_page.CHARTS) == set(access.ROLES) == set(home_page.ROLES)
