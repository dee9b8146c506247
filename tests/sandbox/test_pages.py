"""The pages: what they show, what their buttons do, and that nothing escapes from a mail."""

from collections.abc import Iterator
from typing import Literal

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, expect

from crm.sandbox import SandboxServer
from crm.sandbox.events.outcomes import worst_outcome
from tests.sandbox.conftest import Hook
from tests.sandbox.requests_data import HEADERS, Wire, letter
from tests.support.accessibility import violations

HOSTILE = (
    "<script>document.title='taken'</script><img src='https://elsewhere.example/x.png'><p>Dear -name-</p>"
)


def send(client: FlaskClient, *people: str, **changes: object) -> str:
    answer = client.post("/v3/mail/send", json=letter(*people, **changes), headers=HEADERS)
    assert answer.status_code == 202
    return str(answer.headers["X-Message-Id"])


def text(client: FlaskClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_the_inbox_is_paged_and_searchable(
    client: FlaskClient,
) -> None:
    assert "No mail yet" in text(client, "/")
    send(client, *(f"p{number}@m.example" for number in range(60)))
    first = text(client, "/")
    assert "60 mails accepted" in first
    assert first.index("p59@m.example") < first.index("p10@m.example")
    assert "p9@m.example" not in first
    older = first.split('<a href="/?after=')[1].split('"')[0]
    assert "p9@m.example" in text(client, f"/?after={older}")
    assert text(client, "/?q=P4").count("<li>") == 11
    assert "No mail to an address with" in text(client, "/?q=zzz")


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ("html", 'sandbox="allow-popups allow-popups-to-escape-sandbox"'),
        ("text", "Dear Ana 0"),
        ("headers", "&lt;https://clinic.example/u/0&gt;"),
        ("source", "&#34;substitutions&#34;"),
        ("other", "<iframe"),
    ],
)
def test_a_mail_is_shown_in_parts(client: FlaskClient, part: str, shown: str) -> None:
    request_id = send(client, "ana@m.example")
    page = text(client, f"/mails/{request_id}.0?part={part}")
    assert "Hello Ana 0" in page
    assert shown in page


def test_a_missing_mail_is_404(client: FlaskClient) -> None:
    request_id = send(client, "ana@m.example", content=letter()["content"][:1])
    assert "no HTML part" in text(client, f"/mails/{request_id}.0?part=html")
    assert client.get(f"/mails/{request_id}.0/html").status_code == 404
    missing = client.get("/mails/unknown.0")
    assert missing.status_code == 404
    assert "may have been deleted" in missing.get_data(as_text=True)


def test_values_are_escaped_and_every_page_is_closed_to_the_outside(client: FlaskClient) -> None:
    request_id = send(client, "ana@m.example", subject="<script>x</script>")
    for path in ("/", f"/mails/{request_id}.0", "/faults", "/suppressed", "/calls", "/mails/unknown.0"):
        answer = client.get(path)
        assert "<script>x" not in answer.get_data(as_text=True)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "sandbox" in answer.get_data(as_text=True).lower()


def test_buttons_work_without_scripts(client: FlaskClient) -> None:
    request_id = send(client, "ana@m.example")
    path = f"/mails/{request_id}.0"
    fired = client.post(f"{path}/fire", data={"kind": "bounce"})
    assert (fired.status_code, fired.location) == (303, f"{path}?fired=bounce")
    assert "Bounced" in text(client, path)
    assert "ana@m.example" in text(client, "/suppressed")
    client.post("/suppressed/lift", data={"email": "ana@m.example", "list": "bounces"})
    assert "ana@m.example" not in text(client, "/suppressed")
    assert client.post(f"{path}/fire", data={"kind": "lost"}).status_code == 400
    assert client.post("/empty").status_code == 303
    assert "No mail yet" in text(client, "/")


def test_faults_are_set_and_taken_away_in_the_page(client: FlaskClient) -> None:
    form = {
        "kind": "status",
        "status": "502",
        "body": "html",
        "times": "3",
        "probability": "50",
        "seconds": "9",
    }
    assert client.post("/faults", data=form).status_code == 303
    (fault,) = client.get("/sandbox/faults").json["faults"]  # type: ignore[index]
    assert (fault["status"], fault["times"], fault["probability"], fault["seconds"]) == (502, 3, 0.5, 1.0)
    assert "Refuse with 502 (HTML body), 50% of the time" in text(client, "/faults")
    client.post(f"/faults/{fault['position']}/remove")
    client.post("/faults/events", data={"hold": "on"})
    assert client.get("/sandbox/faults").json == {  # type: ignore[comparison-overlap]
        "faults": [],
        "events": {"hold": True, "shuffle": False, "duplicate": False, "gzip": False, "garble": False},
    }


@pytest.mark.parametrize(
    ("form", "words"),
    [({"kind": "fire"}, "Choose what"), ({"kind": "delay", "seconds": "x"}, "seconds is a number")],
)
def test_a_fault_that_makes_no_sense_is_explained(
    client: FlaskClient, form: dict[str, str], words: str
) -> None:
    answer = client.post("/faults", data=form)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("kinds", "word"),
    [
        ([], "Accepted"),
        (["processed"], "Processed"),
        (["delivered", "processed"], "Delivered"),
        (["deferred", "delivered"], "Delivered"),
        (["delivered", "bounce"], "Bounced"),
        (["delivered", "bounce", "unsubscribe"], "Unsubscribed"),
        (["spamreport", "delivered"], "Complaint"),
    ],
)
def test_the_worst_event_names_the_mail(kinds: list[str], word: str) -> None:
    assert worst_outcome({"event": kind} for kind in kinds).word == word


@pytest.fixture
def page(browser: Browser, server: SandboxServer) -> Iterator[Page]:
    context = browser.new_context(base_url=server.url, reduced_motion="reduce")
    page = context.new_page()
    page.on("request", lambda request: _stays_here(request.url, server.url))
    yield page
    context.close()


def _stays_here(url: str, ours: str) -> None:
    assert url.startswith((ours, "data:", "https://elsewhere.example")), url


@pytest.fixture
def mails(server: SandboxServer, hook: Hook) -> str:
    wire = Wire(server.url)
    request_id = wire.send(letter("async-bounce@m.example", "ana@m.example"))
    wire.call("PUT", "/sandbox/faults", {"faults": [{"kind": "delay", "times": 1, "probability": 0.5}]})
    hook.wait_for(5)
    wire.close()
    return request_id


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_is_accessible_and_fits(
    page: Page, mails: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    mail = f"/mails/{mails}.0"
    parts = [f"{mail}?part={part}" for part in ("html", "text", "headers", "source")]
    for path in (
        "/",
        "/?q=zzz",
        *parts,
        f"{mail}?width=phone&fired=bounce",
        "/faults",
        "/suppressed",
        "/calls",
    ):
        page.goto(path)
        assert violations(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


@pytest.mark.browser
def test_a_person_reads_a_mail_and_makes_it_bounce(page: Page, mails: str, hook: Hook) -> None:
    page.goto("/?q=ana")
    page.get_by_role("link", name="Hello Ana 1").click()
    paper = page.frame_locator("iframe")
    expect(paper.get_by_text("Dear Ana 1")).to_be_visible()
    told = len(hook.events)
    page.get_by_role("button", name="Bounce", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("Made: bounce")
    expect(page.get_by_text("Bounced", exact=True)).to_be_visible()
    assert hook.wait_for(told + 1)[-1]["email"] == "ana@m.example"


@pytest.mark.browser
def test_a_mail_can_reach_nothing(page: Page, server: SandboxServer) -> None:
    wire = Wire(server.url)
    request_id = wire.send(letter("ana@m.example", content=[{"type": "text/html", "value": HOSTILE}]))
    wire.close()
    answered: list[str] = []
    page.on("response", lambda response: answered.append(response.url))
    page.goto(f"/mails/{request_id}.0/html")
    expect(page.get_by_text("Dear Ana 0")).to_be_visible()
    assert page.title() != "taken"
    assert [url for url in answered if not url.startswith(server.url)] == []


@pytest.mark.browser
def test_new_mail_is_announced_without_reloading(page: Page, server: SandboxServer) -> None:
    page.goto("/")
    wire = Wire(server.url)
    wire.send(letter("ana@m.example", "bo@m.example"))
    wire.close()
    page.get_by_role("link", name="Show 2 new").click()
    expect(page.get_by_text("bo@m.example")).to_be_visible()
