"""At the desk: a caller becomes a lead, a wrong address is corrected and consent asked anew, two people are parted."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_leads import one
from tests.browser.test_pages import check
from tests.support.accessibility import violations
from tests.support.stack import Stack

pytestmark = [pytest.mark.xdist_group("browser-people")]

ASKED = "select count(*) from confirmation f join contact c on c.id = f.contact_id where c.email = %s"
WRONG, RIGHT = "bea.typo@patients.example", "bea@patients.example"


def test_a_caller_is_entered_corrected_and_split(site: Stack, staff: Page):
    # a caller, by keyboard, without leaving the page of work lists
    staff.goto(f"{site.web_url}/console/leads/work", wait_until="networkidle")
    staff.keyboard.press("+")
    staff.keyboard.press("Enter")
    expect(staff.get_by_role("heading", level=1)).to_have_text("New lead")
    staff.get_by_label("First name").fill("Bea")
    staff.get_by_label("Last name").fill("Lund")
    staff.get_by_role("textbox", name="Phone").fill("213 555 0188")
    staff.locator("#f-email").fill(WRONG)
    staff.get_by_label("They said that we may ask them by email").check()
    staff.get_by_role("button", name="Open lead").click()
    expect(staff.get_by_role("heading", level=1)).to_contain_text("Bea Lund")
    assert one(site, ASKED, WRONG) == 1

    # the address is corrected from the page of the lead; the new one is asked
    staff.wait_for_load_state("networkidle")
    staff.keyboard.press("e")
    check_here(staff)
    staff.locator("#f-email").fill(RIGHT)
    staff.get_by_role("button", name="Save").click()
    expect(staff.get_by_role("heading", level=1)).to_contain_text("Bea Lund")
    expect(staff.locator(".flashes")).to_contain_text("The old address keeps its opt-outs")
    assert one(site, ASKED, RIGHT) == 2

    # a second caller of the same name is shown the first
    staff.goto(f"{site.web_url}/console/new")
    staff.get_by_label("First name").fill("Bea")
    staff.get_by_label("Last name").fill("Lund")
    staff.get_by_role("textbox", name="Phone").fill("213 555 0188")
    expect(staff.locator("#look-alikes")).to_contain_text("Is it one of these?")
    staff.locator("#look-alikes input[type=radio]").first.check()
    staff.get_by_label("What they asked").fill("My husband asks, too")
    staff.get_by_role("button", name="Open lead").click()
    expect(staff.get_by_role("heading", level=1)).to_contain_text("Bea Lund")
    staff.get_by_role("link", name="Open contact").click()
    check(staff, staff.url)

    # the second request is of another person
    staff.get_by_text("More", exact=True).click()
    staff.get_by_role("link", name="Split: this record holds two people").click()
    check(staff, staff.url)
    staff.get_by_label("First name").fill("Ben")
    staff.get_by_label("Last name").fill("Lund")
    staff.locator("input[name=lead]").first.check()
    staff.get_by_role("button", name="Split record").click()
    expect(staff.get_by_role("heading", level=1)).to_contain_text("Ben Lund")
    staff.get_by_role("button", name="Undo").click()
    expect(staff.get_by_role("heading", level=1)).to_contain_text("Bea Lund")
    assert re.search(r"/console/contacts/\d+$", staff.url)


def check_here(page: Page) -> None:
    expect(page.get_by_role("heading", name="Edit details")).to_be_visible()
    assert violations(page) == []
