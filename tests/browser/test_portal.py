"""A nurse with a phone: access is asked for and given, a referral goes out in a minute, and its way back is seen."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.accessibility import violations
from tests.support.stack import Stack, wait_until

pytestmark = [pytest.mark.xdist_group("browser-desk")]
EMAIL = "nina@north.example"


def sound(page: Page) -> None:
    """Nothing axe knows is wrong with the page, and nothing sticks out of the phone."""
    assert violations(page) == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), page.url


@pytest.fixture
def phone(browser: Browser):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def get_access(phone: Page, staff: Page, site: Stack) -> None:
    phone.goto(f"{site.web_url}/refer/join")
    sound(phone)
    for name, value in {
        "practice": "North Clinic", "phone": "213 555 0150", "clinician": "Dr. Ada North", "npi": "1234567893",
        "name": "Nina Nurse", "email": EMAIL,
    }.items():  # fmt: skip
        phone.locator(f"main [name={name}]").fill(value)
    phone.locator("[name=altcha]").evaluate(
        "e => new Promise(r => { const t = setInterval(() => e.value && (clearInterval(t), r()), 50) })"
    )
    phone.get_by_role("button", name="Request access").click()
    expect(phone.get_by_role("heading", level=1)).to_contain_text("Thank you")
    staff.goto(f"{site.web_url}/console/referrers/")
    expect(staff.locator("main")).to_contain_text("Nina Nurse")
    sound(staff)
    staff.get_by_role("button", name="Approve").click()
    wait_until(lambda: len(site.inbox(EMAIL)) == 1, seconds=20, what="the link to sign in")
    link = re.search(r"https?://\S+/refer/in/[\w=-]+", site.inbox(EMAIL)[0]["text"])[0]
    phone.goto(link)
    sound(phone)
    phone.get_by_role("button", name="Sign in").click()
    expect(phone.get_by_role("heading", level=1)).to_have_text("Your referrals")


def use_a_passkey(site: Stack, phone: Page) -> None:
    """Add a passkey to the account, sign out, come back with it, and take it away."""
    device = phone.context.new_cdp_session(phone)
    device.send("WebAuthn.enable")
    kind = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    device.send("WebAuthn.addVirtualAuthenticator", {"options": kind})
    before, url = len(site.inbox(EMAIL)), site.web_url
    phone.context.clear_cookies()  # signed out
    phone.goto(f"{url}/refer/sign-in?lang=en")
    expect(phone.get_by_role("button", name="Sign in with a passkey")).to_be_visible()
    sound(phone)
    phone.locator("[name=email]").fill(EMAIL)
    phone.get_by_role("button", name="Send me a link").click()
    wait_until(lambda: len(site.inbox(EMAIL)) > before, seconds=20, what="a link")
    phone.goto(url + re.search(r"/refer/in/[\w=-]+", site.inbox(EMAIL)[-1]["text"])[0])
    phone.get_by_role("button", name="Sign in").click()
    phone.goto(f"{url}/refer/account/?lang=en")
    sound(phone)
    phone.locator("main [name=name]").fill("My phone")
    phone.get_by_role("button", name="Add a passkey").click()
    expect(phone.get_by_role("rowheader", name="My phone")).to_be_visible()
    sound(phone)
    phone.locator("header summary").last.click()
    phone.get_by_role("button", name="Sign out").click()
    phone.get_by_role("button", name="Sign in with a passkey").click()
    expect(phone.get_by_role("heading", level=1)).to_have_text("Your referrals")
    phone.goto(f"{url}/refer/account/")
    phone.get_by_role("button", name="Remove My phone").click()
    expect(phone.get_by_role("status").first).to_contain_text("removed")
    expect(phone.get_by_role("rowheader")).to_have_count(0)


def test_a_nurse_refers_by_phone_and_sees_what_became_of_it(site: Stack, phone: Page, staff: Page):
    get_access(phone, staff, site)
    sound(phone)
    phone.get_by_role("link", name="Refer a patient").click()
    sound(phone)
    phone.get_by_role("button", name="Send referral").click()
    summary = phone.locator("[data-error-summary]")
    expect(summary).to_be_focused()
    sound(phone)
    for name, value in {
        "first_name": "Quillon", "last_name": "Zzyzx", "birth_date": "5/17/1970", "phone": "213 555 0142",
        "reason": "Pain after surgery",
    }.items():  # fmt: skip
        phone.locator(f"main [name={name}]").fill(value)
    phone.locator("[name=informed]").check()
    phone.get_by_role("button", name="Send referral").click()
    phone.wait_for_url("**/refer/r/*")
    sound(phone)
    reference = re.search(r"R-[0-9A-Z]{6}", phone.url)[0]

    # the front desk says yes, and writes
    staff.goto(f"{site.web_url}/console/leads/{reference}")
    staff.locator("select[name=to]").select_option("accepted")
    staff.get_by_role("button", name="Move").click()
    staff.goto(f"{site.web_url}/console/referrers/referrals/{reference}")
    sound(staff)
    staff.locator("[name=text]").fill("Booked for Tuesday")
    staff.get_by_role("button", name="Send message").click()
    expect(staff.locator("main")).to_contain_text("Booked for Tuesday")

    phone.reload()
    expect(phone.locator("main")).to_contain_text("Accepted")
    expect(phone.locator("main")).to_contain_text("Booked for Tuesday")
    phone.goto(f"{site.web_url}/refer/?lang=es")
    sound(phone)
    expect(phone.locator("main")).to_contain_text("Aceptado")

    wait_until(lambda: len(site.inbox(EMAIL)) == 3, seconds=20, what="receipt and word of the message")
    for mail in site.inbox(EMAIL):
        assert not re.search("Quillon|Zzyzx|1970|surgery|Tuesday", str(mail)), mail["subject"]

    use_a_passkey(site, phone)
