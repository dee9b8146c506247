"""From a marketer's idea to the next email: written, checked, translated, discussed, approved by two others, and sent."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_journey import confirm, fill_in
from tests.browser.test_pages import check
from tests.support.stack import Stack, wait_until

pytestmark = [pytest.mark.xdist_group("browser-desk")]

KEY = "contact-request/02-understanding"
BAD = "Ketamine is completely safe."
NEW = "Many people write down how they slept, for a week."
SPANISH = "Muchas personas anotan cómo durmieron, por una semana."


def member(browser: Browser, site: Stack, *, role: str, name: str) -> Page:
    """A page in which a staff member with this role is signed in; any console error fails the test."""
    email = f"{name.lower()}@clinic.example"
    link = site.flask("staff", "create", email, "--role", role, "--name", name).split()[-1]
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(link)
    page.get_by_role("button").first.click()
    page.wait_for_url("**/console**")
    return page


def open_item(page: Page, site: Stack) -> None:
    page.goto(f"{site.web_url}/console/content?q={KEY}")
    page.locator("tbody th a").first.click()


def saved(page: Page) -> None:
    expect(page.locator("#saved")).to_have_text(re.compile(r"^Saved \d"), timeout=10_000)


def type_at_end(page: Page, words: str) -> None:
    page.get_by_label("Text", exact=True).focus()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text(f"\n{words}\n")
    expect(page.locator("#saved")).to_have_text(re.compile("^(Not saved yet|Saving)"))
    saved(page)


def review(page: Page, site: Stack, version: str) -> Page:
    page.goto(f"{site.web_url}/console/content/versions/{version}")
    return page


def test_an_idea_becomes_an_email_that_a_clinic_stands_behind(site: Stack, browser: Browser, page: Page):
    marketer = member(browser, site, role="marketer", name="Mara")
    doctor = member(browser, site, role="clinician", name="Chris")
    lawyer = member(browser, site, role="marketer", name="Lena")
    before, after = "before@patients.example", "after@patients.example"
    fill_in(page, site, email=before, language="en")
    confirm(page, site, before)
    until(site, before, 3)  # has the second email already
    fill_in(page, site, email=after, language="en")
    confirm(page, site, after)
    until(site, after, 2)

    # written, in a copy
    open_item(marketer, site)
    marketer.get_by_role("button", name="Write a new version").first.click()
    marketer.wait_for_url("**/drafts/**")
    english = re.search(r"/drafts/(\d+)", marketer.url)[1]
    saved(marketer)
    expect(marketer.get_by_text("No problems found.")).to_be_visible()
    type_at_end(marketer, BAD)
    expect(marketer.locator(".under mark").first).to_have_text(re.compile("safe"))
    finding = marketer.locator(".finding", has_text="Ketamine is completely safe").first
    finding.get_by_role("button", name="Show in the text").click()
    assert "safe" in marketer.evaluate("getSelection().toString()")
    finding.get_by_role("button", name="Use this wording").click()
    expect(finding).to_have_count(0)
    saved(marketer)
    field = marketer.get_by_label("Text", exact=True)
    assert BAD not in field.input_value()
    field.focus()
    marketer.keyboard.press("Control+z")  # the browser's own undo knows of the suggestion
    assert BAD in field.input_value()
    field.fill(field.input_value().replace(BAD, NEW))
    expect(marketer.get_by_text("No problems found.")).to_be_visible(timeout=10_000)
    saved(marketer)
    expect(marketer.frame_locator("#preview-frame").locator("body")).to_contain_text(NEW)

    # the looks
    marketer.locator("#look-person").select_option("long")
    expect(marketer.frame_locator("#preview-frame").locator("body")).to_contain_text("María José")
    marketer.locator("#look-mode").select_option("text")
    expect(marketer.frame_locator("#preview-frame").locator("pre")).to_contain_text(NEW)

    # by the keyboard: the arrow keys only choose, Enter inserts
    before_block = field.input_value()
    marketer.locator("#insert-block").focus()
    marketer.keyboard.press("ArrowDown")
    assert field.input_value() == before_block
    marketer.keyboard.press("Enter")
    assert "[[block: " in field.input_value().removeprefix(before_block.rstrip())
    marketer.keyboard.press("Control+z")
    expect(field).to_have_value(before_block)
    saved(marketer)
    check(marketer, marketer.url)

    # translated
    marketer.get_by_role("button", name="Duplicate to translate").click()
    marketer.wait_for_url(re.compile(f"/drafts/(?!{english}\\b)"))
    spanish = re.search(r"/drafts/(\d+)", marketer.url)[1]
    saved(marketer)
    texts = old_text(site, "es")
    marketer.get_by_label("Text", exact=True).fill(f"{texts}\n{SPANISH}\n")
    saved(marketer)
    marketer.get_by_label("Subject", exact=True).fill("Algo para leer esta semana")
    marketer.get_by_label("Preview line", exact=True).fill("Una lectura de dos minutos.")
    marketer.get_by_text("Claims and their sources").click()
    marketer.get_by_label("As in the text").first.fill(old_claim(site, "es"))
    expect(marketer.get_by_text("No problems found.")).to_be_visible(timeout=10_000)
    for version in (english, spanish):
        marketer.goto(f"{site.web_url}/console/content/drafts/{version}")
        marketer.get_by_role("button", name="Submit for review").click()
        expect(marketer.get_by_text("Submitted for review.")).to_be_visible()
    expect(marketer.get_by_role("button", name="Approve (compliance)")).to_have_count(0)

    # discussed
    check(doctor, f"{site.web_url}/console/content/versions/{english}")
    expect(doctor.locator(".sentence-added")).to_have_text(re.compile(re.escape(NEW)))
    doctor.locator(".sentence-added summary").click()
    doctor.locator(".sentence-added textarea").fill("Is a week enough?")
    doctor.locator(".sentence-added").get_by_role("button", name="Add comment").click()
    review(marketer, site, english)
    expect(marketer.locator(".sentence-added")).to_contain_text("Is a week enough?")
    marketer.locator(".sentence-added summary").click()
    marketer.locator(".sentence-added textarea").fill("It is what the team asks for at a first visit.")
    marketer.locator(".sentence-added").get_by_role("button", name="Add comment").click()

    # approved by two who did not write it
    for version in (english, spanish):
        review(doctor, site, version).get_by_role("button", name="Approve (clinical)").click()
        expect(doctor.get_by_text("One more approval is needed.")).to_be_visible()
        review(lawyer, site, version).get_by_role("button", name="Approve (compliance)").click()
        expect(lawyer.get_by_text("The next email uses it.")).to_be_visible()

    # from the next step on; who is past it keeps theirs
    until(site, after, 3)
    second = site.inbox(after)[2]
    assert NEW in " ".join(second["text"].split())
    until(site, before, 4)
    assert not any(NEW in " ".join(mail["text"].split()) for mail in site.inbox(before))

    # one byte in the database, and nothing of it leaves
    with site.sql() as database:
        database.execute("alter table content_version disable trigger content_version_fixed")
        database.execute(
            "update content_version v set source = v.source || ' ' from content_item i where i.id = v.item_id "
            "and i.key like 'contact-request/%' and v.language = 'en'"
        )
        database.execute("alter table content_version enable trigger content_version_fixed")
    had = len(site.inbox(after))
    for _ in range(6):
        site.skip(1)
        site.ring()

    def held() -> bool:
        with site.sql() as rows:
            return rows.execute("select count(*) from enrolment where state = 'held'").fetchone()[0] >= 1

    wait_until(held, seconds=20, what="the step to be held")
    assert len(site.inbox(after)) == had
    marketer.goto(f"{site.web_url}/console/content?state=void")
    expect(marketer.locator("tbody tr")).to_have_count(6)


def until(site: Stack, email: str, count: int) -> None:
    """Advance the clock until a person has exactly this many emails."""
    while len(site.inbox(email)) < count:
        try:
            wait_until(lambda: len(site.inbox(email)) >= count, seconds=3, what="an email that is due")
        except TimeoutError:
            site.next_email(email)


def old_text(site: Stack, language: str) -> str:
    """The body of the shipped email."""
    return _shipped(site, language).partition("\n---\n")[2].strip()


def old_claim(site: Stack, language: str) -> str:
    return re.search(r'claim: "(.+)"', _shipped(site, language))[1]


def _shipped(site: Stack, language: str) -> str:
    with site.sql() as database:
        [text] = database.execute(
            "select v.source from content_version v join content_item i on i.id = v.item_id "
            "where i.key = %s and v.language = %s and v.number = 1",
            [KEY, language],
        ).fetchone()
    return str(text)
