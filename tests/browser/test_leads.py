"""A request from the web whose hour runs out: noticed, reached, booked, and out of the sequence."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from crm.core.queue import JobRequest
from tests.browser.test_journey import confirm, fill_in
from tests.browser.test_pages import check
from tests.support.stack import Stack, wait_until

pytestmark = [pytest.mark.xdist_group("browser-desk")]
LA = ZoneInfo("America/Los_Angeles")


def clinic_now(site: Stack) -> datetime:
    return site.now().astimezone(LA)


def one(site: Stack, sql: str, *given) -> object:
    with site.sql() as database:
        row = database.execute(sql, given).fetchone()
    return row[0] if row else None


def sign_in(site: Stack, page: Page) -> None:
    page.goto(site.flask("staff", "sign-in-link", "admin@clinic.example").split()[-1])
    page.get_by_role("button").first.click()
    page.wait_for_url("**/console**")


def test_an_overdue_lead_is_reached_booked_and_leaves_the_sequence(site: Stack, page: Page, admin_link: str):
    email = "late.ana@patients.example"
    visitor = page.context.browser.new_context(timezone_id="America/Los_Angeles").new_page()
    fill_in(visitor, site, email=email, language="en")
    confirm(visitor, site, email)
    of_lead = "from lead l join contact c on c.id = l.contact_id where c.email = %s"
    wait_until(
        lambda: one(site, f"select l.stage {of_lead}", email) == "confirmed", seconds=20, what="the yes"
    )
    reference = one(site, f"select l.reference {of_lead}", email)
    running = "select e.state from enrolment e join contact c on c.id = e.contact_id where c.email = %s"
    assert one(site, running, email) == "active"

    # nobody does anything until its opening hour is over
    site.skip(4)
    site.push(JobRequest("leads.escalate", key="journey"))
    late = f"select count(*) from lead_breach b join lead l on l.id = b.lead_id where l.reference = '{reference}'"
    wait_until(lambda: one(site, late) == 1, seconds=75, what="the escalation")
    sign_in(site, page)
    page.goto(f"{site.web_url}/console/alerts")
    if (several := page.locator("details:not([open]) summary", has_text="Show all")).count():
        several.first.click()  # others are late as well
    page.get_by_role("link", name=re.compile(str(reference))).first.click()
    expect(page.locator("main")).to_contain_text("Overdue")
    expect(page.locator("main")).to_contain_text("Overdue in “confirmed”")

    # a staff member calls and reaches her
    page.get_by_label("Outcome").select_option("reached")
    page.get_by_role("button", name="Log call").click()
    expect(page.locator("main")).to_contain_text("Attempt 1 logged")
    assert one(site, f"select l.stage {of_lead}", email) == "contacted"
    assert (
        one(site, "select count(*) from alert where closed_at is null and text like %s", f"{reference}%") == 0
    )

    # she gets a consultation on the next Wednesday, and no more educational mail
    day = clinic_now(site) + timedelta(days=1)
    while day.weekday() != 2:
        day += timedelta(days=1)
    page.get_by_label(re.compile("Day and time")).fill(day.strftime("%Y-%m-%dT10:00"))
    page.get_by_role("button", name="Book", exact=True).click()
    expect(page.locator("main")).to_contain_text("Consultation booked")
    assert one(site, running, email) == "exited"


def test_duplicates_merge_and_undo_and_bulk_by_keyboard(site: Stack, page: Page, admin_link: str):
    people = [("Twin", "twin@patients.example"), ("Twine", "twin.work@patients.example")]
    key = site.flask("api-key", "create", "journey", "--scope", "contact-requests:write").split()[-1]
    for first, email in people:
        body = {"first_name": first, "last_name": "Rivera", "email": email, "phone": "(213) 555-0177"}
        answer = page.request.post(
            f"{site.web_url}/api/v1/contact-requests", data=body, headers={"Authorization": f"Bearer {key}"}
        )
        assert answer.status == 201, answer.text()
    count = "select count(*) from lead l join contact c on c.id = l.contact_id where c.email = %s"
    sign_in(site, page)

    # one of them is opened; the other may be the same person, and becomes so, and is parted again
    page.goto(f"{site.web_url}/console/leads?q=twin%40patients.example")
    page.get_by_role("link", name=re.compile("Twin ")).first.click()
    expect(page.locator("main")).to_contain_text("Possible duplicates")
    page.get_by_role("button", name="Merge into this record").click()
    expect(page.locator("main")).to_contain_text("Records merged.")
    assert [one(site, count, email) for _, email in people] == [2, 0]
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    expect(page.locator("main")).to_contain_text("Merge undone.")
    assert [one(site, count, email) for _, email in people] == [1, 1]

    # both are ticked and given away without a mouse, after a look at what would change; then that is undone
    page.goto(f"{site.web_url}/console/leads?stage=new")
    page.locator("[data-keys]").wait_for()
    page.wait_for_function(
        "document.getElementById('keys-help') && !document.querySelector('[data-keys-help]').hidden"
    )
    for key in ("j", "x", "j", "x", "a"):
        page.keyboard.press(key)
    expect(page.locator("[data-picked]")).to_have_text("2")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Assign to Ada Admin")
    page.get_by_role("button", name="Change 2 leads").click()
    expect(page.get_by_role("status")).to_contain_text("2 leads changed.")
    given = "select count(*) from lead where owner_id is not null and stage = 'new'"
    assert one(site, given) == 2
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    expect(page.locator("main")).to_contain_text("2 leads were restored.")
    assert one(site, given) == 0

    # a card is dragged to the next column
    page.goto(f"{site.web_url}/console/leads/board")
    card = page.locator("[data-stage=new] li").first
    card.drag_to(page.locator("[data-stage=contacted]"))
    expect(page.locator("[data-stage=contacted] li")).not_to_have_count(0)
    for address in (
        "/console/leads/board",
        "/console/leads/inbox",
        "/console/leads/work",
        "/console/leads/tasks",
    ):
        check(page, site.web_url + address)
