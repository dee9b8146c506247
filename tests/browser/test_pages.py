"""Every page there is: no violation that axe knows, nothing the browser complains about, the keyboard suffices."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.accessibility import violations
from tests.support.stack import Stack

pytestmark = [pytest.mark.xdist_group("browser")]

PUBLIC = ["/contact", "/your-data", "/education", "/login", "/c/nonsense", "/nowhere"]
CONSOLE = ["/console", "/console/leads", "/console/sequences", "/console/mail", "/console/alerts", "/console/staff",
           "/console/audit", "/console/settings", "/console/campaigns", "/console/content", "/console/mail/pace",
           "/console/account", "/console/contacts", "/console/new", "/console/new?what=referral", "/console/referrers/",
           "/console/referrers/new", "/console/reports", "/console/reports?by=practice&kind=referral",
           "/console/reports/response", "/console/reports/email", "/console/reports/consent",
           "/console/reports/leads", "/console/consultations", "/console/consultations?view=day",
           "/console/consultations/list", "/console/consultations/setup", "/console/leads/calling",
           "/console/leads/tasks", "/console/setup", "/console/clinic", "/console/api-keys",
           "/console/retention"]  # fmt: skip


def check(page: Page, address: str, *, fine: tuple[int, ...] = (200,)) -> None:
    answer = page.goto(address)
    assert answer is not None
    assert answer.status in fine, f"{address}: {answer.status}"
    assert violations(page) == [], address


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("path", PUBLIC)
def test_public_pages(site: Stack, browser, path: str, language: str):
    context = browser.new_context(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    check(context.new_page(), f"{site.web_url}{path}?lang={language}", fine=(200, 404))
    context.close()


def test_console_pages(site: Stack, staff: Page):
    for path in CONSOLE:
        staff.set_viewport_size({"width": 1280, "height": 900})
        staff.emulate_media(color_scheme="light")
        check(staff, site.web_url + path)
        staff.set_viewport_size({"width": 390, "height": 844})
        staff.emulate_media(color_scheme="dark")
        assert violations(staff) == [], path
        overflow = staff.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{path} scrolls sideways by {overflow}px on a phone"


def test_the_keyboard_alone_completes_the_form(site: Stack, page: Page):
    page.goto(f"{site.web_url}/contact")
    page.wait_for_timeout(3_200)

    def on(name: str) -> None:
        for _ in range(40):
            if page.evaluate("document.activeElement.name") == name:
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"Tab never came to {name}")

    for name, text in (("first_name", "Kay"), ("last_name", "Board"), ("email", "kay@patients.example")):
        on(name)
        page.keyboard.type(text)
    on("educational_email")
    page.keyboard.press("Space")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "submit":
            break
    page.keyboard.press("Enter")
    page.wait_for_load_state()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Thank you")
