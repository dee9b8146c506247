"""A marketer adds an email to a sequence, a second person publishes it, and a person gets it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from crm.core.queue import JobRequest
from tests.browser.test_content import member
from tests.browser.test_journey import confirm, fill_in
from tests.browser.test_pages import check
from tests.support.stack import Stack, running_stack, wait_until

pytestmark = [pytest.mark.xdist_group("browser-sequences")]

NEW = "What a first month can look like"
COPY = """
    with made as (insert into content_item (key, kind, title, stream, created_at)
        select 'news/first-month', kind, 'A first month', stream, now() from content_item where key = %(key)s returning id)
    insert into content_version (item_id, language, number, state, source, subject, hash, author, created_at,
        approved_at, expires_at)
    select made.id, v.language, 1, v.state, v.source, %(new)s, v.hash, v.author, v.created_at,
        v.approved_at, v.expires_at
    from made, content_version v join content_item i on i.id = v.item_id where i.key = %(key)s and v.state = 'approved'
    returning (select subject from content_version x join content_item y on y.id = x.item_id
        where y.key = %(key)s and x.language = 'en' limit 1)
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Stack]:
    """An installation of its own: other journeys count the six shipped emails."""
    with running_stack() as ours:
        yield ours


def test_a_new_email_reaches_the_next_person(site: Stack, browser: Browser, page: Page):
    with site.sql() as database:
        given = {"key": "contact-request/06-talk", "new": NEW}
        (subject,) = database.execute(
            COPY, given
        ).fetchone()  # the bytes are approved, so the email keeps them
    marketer = member(browser, site, role="marketer", name="Mara")
    second = member(browser, site, role="marketer", name="Lena")
    marketer.goto(f"{site.web_url}/console/sequences")
    marketer.get_by_role("link", name="After a contact request").click()
    marketer.get_by_role("button", name="Edit emails").click()
    marketer.get_by_role("link", name=re.compile("^email ?: ")).first.click()
    adding = marketer.locator("form").filter(has=marketer.get_by_role("button", name="Add email"))
    adding.get_by_label("Email", exact=True).select_option(label=NEW)
    adding.get_by_label("Wait before it", exact=True).fill("1")
    adding.get_by_role("button", name="Add email").click()
    expect(marketer.locator(".plan-step").nth(1)).to_contain_text(NEW)
    check(marketer, marketer.url)
    marketer.get_by_role("link", name="Review and publish").click()
    expect(marketer.get_by_text("another person has to publish it")).to_be_visible()
    check(marketer, marketer.url)

    second.goto(marketer.url)
    second.get_by_role("button", name="Publish new version").click()
    expect(second.get_by_text("takes effect at")).to_be_visible()
    site.skip(11 / 1_440)

    def live() -> bool:
        site.push(JobRequest("sequences.publish", key="now"))
        with site.sql() as database:
            return database.execute("select max(number) from sequence_version").fetchone() == (2,)

    wait_until(live, seconds=20, what="the new version", pause=0.5)
    email = "rita@patients.example"
    fill_in(page, site, email=email, language="en")
    confirm(page, site, email)
    site.next_email(email)
    site.next_email(email)
    assert site.inbox(email)[2]["subject"] == subject
