"""A whole installation with real processes, and a real browser in front of it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.support.stack import Stack, running_stack


@pytest.fixture(scope="session")
def site() -> Iterator[Stack]:
    """Everything running, with nobody in it yet."""
    with running_stack() as ours:
        yield ours


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh browser window of a desktop's size, in Los Angeles; whatever it complains about fails the test."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, timezone_id="America/Los_Angeles",
        reduced_motion="reduce",  # a color half way through its fade is no finding
    )  # fmt: skip
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def admin_link(site: Stack) -> str:
    """Opens an administrator's account; returns the address."""
    return site.flask(
        "staff", "create", "admin@clinic.example", "--role", "admin", "--name", "Ada Admin"
    ).split()[-1]


@pytest.fixture
def staff(site: Stack, page: Page, admin_link: str) -> Page:
    """A browser in which an administrator is signed in."""
    link = site.flask("staff", "sign-in-link", "admin@clinic.example").split()[-1]
    page.goto(link)
    page.get_by_role("button").first.click()
    page.wait_for_url("**/console**")
    return page
