"""The main journey: a form in Spanish, consent, six emails in office hours, an opt-out that works."""

import re
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import requests
from playwright.sync_api import Page, expect

from crm.consent import consent_texts
from tests.support.stack import Stack, wait_until

pytestmark = [pytest.mark.xdist_group("browser")]
LA = ZoneInfo("America/Los_Angeles")


def fill_in(page: Page, site: Stack, *, email: str, language: str = "es") -> None:
    page.goto(f"{site.web_url}/contact?lang={language}&utm_source=poster")
    page.locator("[name=first_name]").fill("María José")
    page.locator("[name=last_name]").fill("Núñez")
    page.locator("[name=email]").fill(email)
    page.locator("[name=state]").select_option("CA")
    page.locator("[name=educational_email]").check()
    page.locator("[name=altcha]").evaluate(
        "e => new Promise(r => { const t = setInterval(() => e.value && (clearInterval(t), r()), 50) })"
    )
    page.wait_for_timeout(3_200)  # nobody fills a form in faster
    page.locator("main form button[type=submit]").click()
    page.wait_for_load_state()


def link_in(mail: dict, path: str) -> str:
    found = re.search(rf"https?://[^\s\"<>]+/{path}/[\w=-]+", mail["text"])
    assert found, mail["text"]
    return found[0]


def confirm(page: Page, site: Stack, email: str) -> None:
    wait_until(lambda: len(site.inbox(email)) == 1, seconds=20, what="the question by email")
    [question] = site.inbox(email)
    assert not re.search(r"ketamin|dolor|\bpain\b", question["subject"], re.IGNORECASE)
    page.goto(link_in(question, "c"))
    assert len(site.inbox(email)) == 1  # looking changes nothing
    page.locator("main form button[type=submit]").first.click()
    page.wait_for_load_state()


def test_from_the_form_to_the_last_email_and_a_stop_that_works(site: Stack, page: Page, staff: Page):
    email = "maria@patients.example"
    visitor = staff.context.browser.new_context(timezone_id="America/Los_Angeles").new_page()
    fill_in(visitor, site, email=email)
    expect(visitor.get_by_role("heading", level=1)).to_contain_text("Gracias")
    confirm(visitor, site, email)
    while len(site.inbox(email)) < 7:  # written in office hours, the first leaves at once
        site.next_email(email)
    mails = site.inbox(email)[1:]
    assert len({mail["subject"] for mail in mails}) == 6
    moments = [datetime.fromtimestamp(mail["received_at"], UTC).astimezone(LA) for mail in mails]
    assert moments == sorted(moments)
    assert all(9 <= moment.hour < 18 for moment in moments), moments
    assert all("Hola" in mail["text"] or "María" in mail["text"] for mail in mails)
    assert all(mail["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click" for mail in mails)

    # the console tells the story
    staff.goto(f"{site.web_url}/console/leads?q={email}")
    staff.get_by_role("link", name=re.compile("María José")).first.click()
    story = staff.locator("main").inner_text()
    for mail in mails:
        assert mail["subject"] in story

    # one click, as a mail program does it, ends everything
    link = re.search(r"<(.+)>", mails[-1]["headers"]["List-Unsubscribe"])[1]
    answer = requests.post(link, data={"List-Unsubscribe": "One-Click"}, timeout=10, allow_redirects=False)
    assert answer.status_code == 200
    staff.reload()
    expect(staff.locator("main")).to_contain_text(re.compile("opted out", re.IGNORECASE))


def test_a_bounce_suppresses_and_ends_the_sequence(site: Stack, page: Page):
    email = "bounce.lupe@patients.example"
    fill_in(page, site, email=email, language="en")
    wait_until(lambda: len(site.inbox(email)) == 1, seconds=20, what="the question")
    link = link_in(site.inbox(email)[0], "c")

    def suppressed() -> bool:
        with site.sql() as database:
            (count,) = database.execute(
                "select count(*) from suppression where reason = 'bounced'"
            ).fetchone()
        return count >= 1

    wait_until(suppressed, seconds=20, what="the bounce to be applied")
    page.goto(link)
    page.locator("main form button[type=submit]").first.click()
    site.skip(1)
    site.skip(1)
    time.sleep(2)
    assert len(site.inbox(email)) == 1


def test_an_opt_out_in_the_middle_stops_the_rest(site: Stack, page: Page):
    email = "rosa@patients.example"
    fill_in(page, site, email=email)
    confirm(page, site, email)
    site.next_email(email)
    site.next_email(email)
    page.goto(link_in(site.inbox(email)[-1], "u"))
    page.locator("main form button[type=submit]").first.click()
    page.wait_for_load_state()
    before = len(site.inbox(email))
    for _ in range(8):
        site.skip(1)
    time.sleep(2)
    assert len(site.inbox(email)) == before


def test_a_referral_ends_in_the_patients_consent(site: Stack, page: Page):
    email = "pedro@patients.example"
    with site.sql() as database:
        database.execute(
            "insert into phi_attestation (transport, wording, by, at, demo) values ('sendgrid', 'v1', 'staff:1', now(), false)"
        )
    key = site.flask("api-key", "create", "ehr", "--scope", "referrals:write").split()[-1]
    answer = requests.post(
        f"{site.web_url}/api/v1/referrals",
        headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "r-1"},
        json=referral(email),
        timeout=10,
    )
    assert answer.status_code == 201, answer.text
    confirm(page, site, email)
    with site.sql() as database:
        assert database.execute(
            "select count(*) from consent_state s join contact c on c.id = s.contact_id where c.email = %s and s.granted",
            [email],
        ).fetchone() == (1,)
    site.next_email(email)


def referral(email: str) -> dict:
    return {
        "external_id": "ehr-77",
        "referrer": {
            "name": "Dr. Nora Field", "npi": "1234567893", "practice": "Family Medicine", "phone": "+1 310 555 0144",
        },
        "patient": {
            "first_name": "Pedro", "last_name": "Paz", "birth_date": "1970-05-17", "email": email, "language": "es",
            "phone": "+1 310 555 0188",
        },
        "reason": {"text": "Chronic low back pain"},
        "patient_informed": True,
        "agreed_to_email": True,
        "attestation": consent_texts.current("referral-attestation", "es").name,
    }  # fmt: skip
