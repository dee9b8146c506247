"""At the desk: a caller becomes a lead, is booked in the first call, moves the hour, is reminded, attends."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from crm.core.queue import JobRequest
from tests.browser.test_leads import one
from tests.browser.test_pages import check
from tests.support.stack import Stack, wait_until

pytestmark = [pytest.mark.xdist_group("browser-desk")]
LA = ZoneInfo("America/Los_Angeles")
BOOKED = "select starts_at from consultation c join lead l on l.id = c.lead_id where l.reference = %s and c.state = 'booked'"


def open_day(site: Stack) -> datetime:
    """A Wednesday at least three days ahead."""
    day = site.now().astimezone(LA) + timedelta(days=3)
    while day.weekday() != 2:
        day += timedelta(days=1)
    return day


def test_a_caller_is_booked_moves_and_attends(site: Stack, staff: Page):
    day = open_day(site)
    staff.goto(f"{site.web_url}/console/new", wait_until="networkidle")
    staff.get_by_label("First name").fill("Cal")
    staff.get_by_label("Last name").fill("Ender")
    staff.get_by_role("textbox", name="Phone").fill("213 555 0166")
    staff.get_by_role("button", name="Open lead").click()
    expect(staff.get_by_role("heading", level=1)).to_contain_text("Cal Ender")
    reference = re.search(r"C-\w{6}", staff.url)
    assert reference is not None

    # booked while they are on the phone, by keyboard
    staff.wait_for_load_state("networkidle")
    staff.keyboard.press("b")
    staff.get_by_label(re.compile("Day and time")).fill(day.strftime("%Y-%m-%dT10:00"))
    staff.get_by_role("button", name="Book", exact=True).click()
    expect(staff.locator("main")).to_contain_text("Consultation booked")
    assert one(site, "select stage from lead where reference = %s", reference[0]) == "consult_scheduled"

    # seen in the week, and moved an hour
    check(staff, f"{site.web_url}/console/consultations?day={day:%Y-%m-%d}")
    staff.locator(".calendar").get_by_role("link", name="Cal Ender").click()
    staff.locator("summary", has_text="Reschedule").click()
    staff.get_by_label(re.compile("Day and time")).fill(day.strftime("%Y-%m-%dT11:00"))
    staff.get_by_role("button", name="Reschedule", exact=True).click()
    expect(staff.locator("main")).to_contain_text("Consultation rescheduled")
    moved = one(site, BOOKED, reference[0])
    assert isinstance(moved, datetime)
    assert moved.astimezone(LA).hour == 11

    # two days before, the reminder is due
    site.skip((moved - timedelta(days=2) - site.now()).total_seconds() / 86_400 + 0.01)
    site.push(JobRequest("consultations.remind", key="journey"))
    marked = "select count(*) from consultation_reminder"
    wait_until(lambda: one(site, marked) == 1, seconds=75, what="the reminder")

    # after it they have attended
    site.skip(2.1)
    staff.goto(site.flask("staff", "sign-in-link", "admin@clinic.example").split()[-1])
    staff.get_by_role("button").first.click()
    staff.wait_for_url("**/console**")
    check(staff, f"{site.web_url}/console/consultations/list?list=outcome")
    staff.get_by_role("link", name="Cal Ender").click()
    staff.get_by_role("button", name="Attended").click()
    expect(staff.locator("main")).to_contain_text("Consultation updated")
    assert one(site, "select stage from lead where reference = %s", reference[0]) == "consult_done"
