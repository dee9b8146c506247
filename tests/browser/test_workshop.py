"""From a blank to a sequence: written, asked about, excepted, sent back, approved; and a safety change of a block at once."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_content import member
from tests.browser.test_pages import check
from tests.support.stack import Stack

pytestmark = [pytest.mark.xdist_group("browser-desk")]

ENGLISH, SPANISH = "How to find our door", "Cómo encontrar nuestra puerta"
STOPPED = "Our ramp is completely safe for wheelchairs."
ASKED = "Two of our patients needed to stop early because they felt panicky."
TEXT = {"en": f"The door is on the left.\n\n{STOPPED}\n\n{ASKED}", "es": "La puerta está a la izquierda."}


def begin(writer: Page, site: Stack) -> dict[str, str]:
    """Begin the email in both languages, write its texts, and return language -> version."""
    writer.goto(f"{site.web_url}/console/content")
    writer.get_by_role("link", name="New email").click()
    check(writer, writer.url)
    writer.get_by_role("button", name="Create draft").click()
    expect(writer.get_by_role("alert")).to_contain_text("Enter a subject in at least one language.")
    writer.get_by_label("Subject in English").fill(ENGLISH)
    writer.get_by_label("Subject in Spanish").fill(SPANISH)
    writer.get_by_role("button", name="Create draft").click()
    writer.wait_for_url("**/drafts/*")
    english = int(writer.url.rsplit("/", 1)[1])
    made = {"en": str(english), "es": str(english + 1)}
    for language, version in made.items():
        writer.goto(f"{site.web_url}/console/content/drafts/{version}")
        field = writer.get_by_label("Text", exact=True)
        field.fill(field.input_value().replace("…", TEXT[language]))
        writer.get_by_role("button", name="Save draft").click()
        expect(writer.get_by_text("Saved.", exact=True)).to_be_visible()
    return made


def submit(writer: Page, site: Stack, version: str) -> None:
    writer.goto(f"{site.web_url}/console/content/drafts/{version}")
    writer.get_by_role("button", name="Submit for review").click()
    expect(writer.get_by_text("Submitted for review.")).to_be_visible()


def show(page: Page, site: Stack, version: str) -> Page:
    page.goto(f"{site.web_url}/console/content/versions/{version}")
    return page


def sign_exception(writer: Page, doctor: Page, boss: Page, site: Stack, version: str) -> None:
    show(writer, site, version).get_by_text("Ask for an exception").first.click()
    writer.get_by_label("Why the sentence is right").fill("It is about the ramp.")
    writer.get_by_role("button", name="Ask for an exception").click()
    expect(writer.get_by_text("not signed").first).to_be_visible()
    expect(writer.get_by_role("button", name=re.compile("^Sign as"))).to_have_count(0)
    show(doctor, site, version).get_by_role("button", name="Sign as clinician").click()
    expect(doctor.get_by_text("One more signature is needed.")).to_be_visible()
    boss.goto(f"{site.web_url}/console/content/review")
    boss.get_by_role("region", name="Exceptions to sign").get_by_role("link", name=ENGLISH).click()
    boss.get_by_role("button", name="Sign as administrator").click()
    expect(boss.get_by_text("The exception is in force.")).to_be_visible()


def review(doctor: Page, site: Stack, versions: dict[str, str]) -> None:
    """Answer the question and approve one text after the other."""
    doctor.goto(f"{site.web_url}/console/content/review")
    check(doctor, doctor.url)
    doctor.get_by_role("link", name=ENGLISH).click()
    expect(doctor.locator("#claims")).to_contain_text("Exception until")
    check(doctor, doctor.url)
    doctor.get_by_label("Not a claim").check()
    doctor.locator("#claims").get_by_label("Why", exact=True).fill("It is about the building.")
    doctor.get_by_role("button", name="Record the answer").click()
    expect(doctor.get_by_text("Answer recorded.")).to_be_visible()
    doctor.get_by_role("link", name="Both languages side by side").click()
    expect(doctor.locator("table")).to_contain_text(SPANISH)
    check(doctor, doctor.url)
    show(doctor, site, versions["en"]).get_by_role("button", name="Approve, then the next").click()
    expect(doctor.get_by_role("heading", level=1)).to_have_text(SPANISH)
    doctor.get_by_role("button", name="Approve (clinical)").click()
    expect(doctor.get_by_text("One more approval is needed.")).to_be_visible()


def test_a_new_email_from_a_blank_to_a_sequence(site: Stack, browser: Browser):
    writer = member(browser, site, role="marketer", name="Wanda")
    doctor = member(browser, site, role="clinician", name="Dora")
    boss = member(browser, site, role="admin", name="Bea")
    second = member(browser, site, role="marketer", name="Sam")
    versions = begin(writer, site)
    sign_exception(writer, doctor, boss, site, versions["en"])

    # sent back with a reason, corrected, submitted again
    submit(writer, site, versions["es"])
    show(doctor, site, versions["es"]).get_by_text("Request changes").click()
    doctor.get_by_label("What to change, and why").fill("Say which street.")
    doctor.get_by_role("button", name="Return to author").click()
    writer.goto(f"{site.web_url}/console/content/drafts/{versions['es']}")
    expect(writer.get_by_text("Say which street.")).to_be_visible()
    field = writer.get_by_label("Text", exact=True)
    field.fill(field.input_value().replace("izquierda", "izquierda de la calle"))
    writer.get_by_role("button", name="Save draft").click()
    for version in versions.values():
        submit(writer, site, version)
    expect(writer.get_by_role("button", name=re.compile("^Approve"))).to_have_count(0)

    review(doctor, site, versions)
    for version in versions.values():
        show(second, site, version).get_by_role("button", name="Approve (compliance)").click()
        expect(second.get_by_text("The next email uses it.")).to_be_visible()

    writer.goto(f"{site.web_url}/console/campaigns")
    expect(writer.get_by_role("option", name=ENGLISH)).to_have_count(1)
    writer.goto(f"{site.web_url}/console/sequences")
    writer.get_by_role("link", name="After a contact request").click()
    writer.get_by_role("button", name="Edit emails").click()
    writer.get_by_label("Email", exact=True).select_option(label=ENGLISH)


def test_a_safety_change_holds_its_emails_and_is_approved_once(site: Stack, browser: Browser):
    writer = member(browser, site, role="marketer", name="Willa")
    doctor = member(browser, site, role="clinician", name="Dina")
    second = member(browser, site, role="marketer", name="Sol")
    writer.goto(f"{site.web_url}/console/content?sequence=block&q=emergency")
    writer.locator("tbody th a").first.click()
    writer.get_by_role("button", name="Write a new version").first.click()
    writer.wait_for_url("**/drafts/*")
    version = writer.url.rsplit("/", 1)[1]
    field = writer.get_by_label("Text", exact=True)
    field.fill(f"{field.input_value().rstrip()}\n\nIf you are alone, call a neighbor, too.\n")
    writer.get_by_label("This is a safety change").check()
    writer.get_by_role("button", name="Submit for review").click()
    expect(writer.get_by_text("emails with this block wait until it is approved")).to_be_visible()
    waiting = "select count(*) from alert where key = %s and closed_at is null"
    with site.sql() as database:
        assert database.execute(waiting, [f"safety:{version}"]).fetchone() == (1,)

    show(doctor, site, version)
    expect(doctor.locator("#holders")).to_contain_text("approves these")
    check(doctor, doctor.url)
    doctor.get_by_role("button", name="Approve (clinical)").click()
    show(second, site, version).get_by_role("button", name="Approve (compliance)").click()
    expect(second.get_by_text("The next email uses it.")).to_be_visible()
    with site.sql() as database:
        carried = "select count(distinct object_id) from audit_entry where action = 'content.carried_over'"
        assert database.execute(carried).fetchone()[0] >= 12
