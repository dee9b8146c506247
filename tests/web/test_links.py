"""Links and search forms of the console, followed as each role."""

import html
import re
from collections import Counter, deque
from urllib.parse import urljoin, urlsplit

import pytest

from crm.consultations import service as consultations
from crm.core.db import transaction
from crm.duplicates import service as duplicates
from crm.leads import call_log, service
from crm.staff import access, alerts
from tests.desk.test_console_work import new_lead
from tests.intake.test_service import refer
from tests.support import factories as support_factories
from tests.support.browser_client import BrowserClient, member

HREF = re.compile(r'(?:href|action)="([^"]+)"(?: role="search")?')
POSTS = re.compile(r'<form[^>]*method="post"[^>]*action="([^"]+)"')
EACH = 3  # addresses of one page that are looked at
NAV_LIMIT = 8


@pytest.fixture
def house(client, database, clock):
    """Something of everything."""
    with transaction():
        support_factories.shipped()
    one, other = new_lead(1), new_lead(2, first_name="Ben", phone="+12135550001")
    with transaction():
        referred = service.get(refer().lead_id)
        call_log.log_call(lead_id=one.id, channel="phone", outcome="reached")
        consultations.book(
            lead_id=one.id, version=one.version, starts_at=one.created_at.replace(day=5), confirmed=True
        )
        service.add_note(lead_id=referred.id, text="A note")
        service.add_task(lead_id=other.id, kind="call", title="Call", due_at=other.due_at)
        support_factories.opted_in(other.contact)
        duplicates.merge_contacts(kept_id=one.contact_id, gone_id=other.contact_id)
        alerts.raise_alert(key="x", level="info", text="Look", link=f"/console/leads/{one.reference}")
    return database


def crawl(visitor: BrowserClient) -> dict[str, int]:
    """Follow all links from the first page on; return what answered badly."""
    adapter = visitor.client.application.url_map.bind("localhost")
    seen, looked_at, wrong = {"/console/"}, Counter(), {}
    waiting = deque(seen)
    while waiting:
        address = waiting.popleft()
        path = urlsplit(address).path
        if not path.startswith("/console") or not adapter.test(path, "GET"):
            if not adapter.test(path):
                wrong[address] = 404
            continue
        endpoint, _ = adapter.match(path, "GET")
        looked_at[endpoint] += 1
        if looked_at[endpoint] > EACH and not endpoint.endswith((".index", ".home")):
            continue
        answer = visitor.get(address, follow_redirects=True)
        if answer.status_code != 200:
            wrong[address] = answer.status_code
        elif answer.mimetype == "text/html":
            posted = set(POSTS.findall(answer.text))
            for found in HREF.findall(answer.text):
                link = urljoin(address, html.unescape(found)).split("#")[0]
                known = link in seen or found in posted or looked_at[endpoint] > 40
                if link.startswith("/") and not link.startswith(("/static", "/bootstrap")) and not known:
                    seen.add(link)
                    waiting.append(link)
    return wrong


@pytest.mark.parametrize("role", access.ROLES)
def test_every_link_opens(house, role):
    assert crawl(BrowserClient(house).sign_in(member(role))) == {}


@pytest.mark.parametrize("role", access.ROLES)
def test_navigation_marks_one_of_eight_entries(house, role):
    visitor = BrowserClient(house).sign_in(member(role))
    for address in ("/console/leads", "/console/staff", "/console/audit", "/console/exports"):
        answer = visitor.get(address)
        if answer.status_code == 200:
            nav = answer.text.split('<nav class="sidenav"')[1].split("</nav>")[0]
            assert nav.count("<li>") <= NAV_LIMIT
            assert nav.count("aria-current") == 1, address
