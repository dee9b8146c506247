"""A whole installation with real processes, and a real browser in front of it."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.fleet import Fleet, fleet

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium. Its absence is a visible skip on a person's machine and a failure in CI."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing; in CI that is a failure.")
        pytest.skip("Chromium is not installed here; browser journeys are skipped.")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield made
        made.close()


@pytest.fixture(scope="session")
def site() -> Iterator[Fleet]:
    """Everything running, with nobody in it yet."""
    with fleet() as ours:
        yield ours


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh browser window of a desktop's size, in Los Angeles; whatever it complains about fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="America/Los_Angeles")
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def admin_link(site: Fleet) -> str:
    """Opens an administrator's account; returns the address."""
    return site.flask(
        "staff", "create", "admin@clinic.example", "--role", "admin", "--name", "Ada Admin"
    ).split()[-1]


@pytest.fixture
def staff(site: Fleet, page: Page, admin_link: str) -> Page:
    """A browser in which an administrator is signed in."""
    link = site.flask("staff", "sign-in-link", "admin@clinic.example").split()[-1]
    page.goto(link)
    page.get_by_role("button").first.click()
    page.wait_for_url("**/console**")
    return page
