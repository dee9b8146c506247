"""Every shipped email in both languages, taken where it would leave: the very bytes of the call to the provider."""

import html
import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import html5lib
import pytest
from sqlalchemy import select, text

from crm.content.models import ContentItem, ContentVersion
from crm.content.render.library import load_library
from crm.content.render.source import Source
from crm.core.db import db, transaction
from crm.core.flask_app import CrmApp
from crm.mailer import Fate, Outcome
from crm.mailer.sendgrid import Raw, SendGridMailer
from crm.messages import service, transports
from crm.messages.engine.deliver import deliver
from crm.messages.limits import switches
from crm.messages.models import Batch, Message
from crm.sequences import planner
from tests.support import factories as support_factories

LIBRARY = load_library()
TOPICS = {
    "prospect_edu": "contact-request",
    "referred_edu": "referred-patient",
    "provider_nurture": "referring-provider",
}
PERSON = {
    "first_name": "Zenobia",
    "last_name": "Quackenbush",
    "birth_date": "1961-07-29",
    "phone": "+15550107733",
}
SECRETS = ("Quackenbush", "1961", "7/29", "29 July", "July 29", "5550107733", "555 010 7733", "010-7733")
HEALTH = re.compile(
    r"ketamin|esketamin|spravato|pain|dolor|crps|sdrc|fibromyalgia|fibromialgia|migra|neuropath|neuropát|infusion"
    r"|infusión|depress|depresi|therapy|terapia|treatment|tratamiento|diagnos|opioid|opioide",
    re.IGNORECASE,
)
TRACKERS = re.compile(r"utm_|\bpixel\b|/wf/open|/ls/click|gclid|fbclid|mc_eid", re.IGNORECASE)
VOID = {"meta", "br", "hr", "img", "input", "link"}
DAY = 86_400
pytestmark = pytest.mark.xdist_group("leaving")  # made once for all of them


class Capture(SendGridMailer):
    """SendGrid's transport without the network: the bytes are kept and nothing is posted."""

    def __init__(self) -> None:
        super().__init__(api_key="none", url="http://127.0.0.1:9")
        self.bodies: list[bytes] = []

    def post(self, prepared: Raw) -> Outcome:
        self.bodies.append(bytes(prepared))
        return Outcome(fate=Fate.ACCEPTED, provider_id="x")


@dataclass(frozen=True, slots=True)
class Left:
    """One email as it left, and the file it was made of."""

    key: str
    source: Source
    raw: str
    body: dict[str, Any]

    @property
    def html(self) -> str:
        return str(self.body["content"][1]["value"])


class Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attrs: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attrs]
        self.wrong += [name for name in names if names.count(name) > 1]
        self.attrs += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["title"]):
            self.text += data


@pytest.fixture(scope="module")
def _once() -> dict[str, list[Left]]:
    return {}


@pytest.fixture
def left(database: CrmApp, redis: Any, clock: Any, _once: dict[str, list[Left]]) -> list[Left]:
    """All that leaves: three sequences to their end, and every service email, to a person with much to hide."""
    if not _once:
        capture = Capture()
        transports.use({"sendgrid": capture})
        _send_all(database, clock)
        transports.use({})
        _once["all"] = [_read(body) for body in capture.bodies]
    return _once["all"]


def _send_all(app: CrmApp, clock: Any) -> None:
    with transaction():
        support_factories.shipped()
        switches.attest_phi(transport="sendgrid", wording="test", by="test")
        for number, (topic, language) in enumerate(
            (topic, language) for topic in TOPICS for language in ("en", "es")
        ):
            who = support_factories.contact(email=f"p{number}@patients.example", language=language, **PERSON)
            support_factories.opted_in(who, topic)
        db.session.execute(
            text("delete from message where batch_id in (select id from batch where state = 'ready')")
        )
        db.session.execute(text("update batch set state = 'cancelled' where state = 'ready'"))
        _queue_service_emails()
    for _ in range(64):
        with transaction():
            planner.plan_due()
        ids = db.session.scalars(select(Batch.id).where(Batch.state == "ready").order_by(Batch.id)).all()
        db.session.commit()
        for batch_id in ids:
            deliver(batch_id, settings=app.settings)
        clock.shift(DAY)


def _queue_service_emails() -> None:
    given = {
        "links": {"confirm_url": 1, "signin_url": 1, "staff_signin_url": 1, "data_url": 1},
        "facts": {"reference": "R-1042"},
        "moments": {"appointment_time": "2026-03-10T17:00:00+00:00"},
    }
    for kind, language in LIBRARY.transactional:
        who = support_factories.contact(
            email=f"{kind}-{language}@patients.example", language=language, **PERSON
        )
        service.send_transactional(kind, contact_id=who.id, language=language, params=given)


def _read(raw: bytes) -> Left:
    body = json.loads(raw)
    message_id = int(body["personalizations"][0]["custom_args"]["pp_msg"])
    key, language = db.session.execute(
        select(ContentItem.key, ContentVersion.language)
        .join(ContentVersion, ContentVersion.item_id == ContentItem.id)
        .join(Message, Message.content_version_id == ContentVersion.id)
        .where(Message.id == message_id)
    ).one()
    return Left(f"{key}/{language}", _sources()[f"{key}/{language}"], raw.decode(), body)


def _sources() -> dict[str, Source]:
    found = {"/".join(key): source for key, source in LIBRARY.emails.items()}
    return found | {"/".join(("email", *key)): source for key, source in LIBRARY.transactional.items()}


def test_every_kind_leaves_in_every_language(left):
    assert {one.key for one in left} == set(_sources())


def test_it_carries_an_address_a_first_name_and_one_number_of_ours(left):
    for one in left:
        assert not [secret for secret in SECRETS if secret in one.raw], one.key
        assert set(one.body) <= {
            "personalizations",
            "from",
            "reply_to",
            "subject",
            "content",
            "tracking_settings",
            "headers",
        }
        for person in one.body["personalizations"]:
            assert set(person) <= {"to", "substitutions", "custom_args", "headers"}
            assert [set(to) for to in person["to"]] == [{"email"}]
            assert set(person["custom_args"]) == {"pp_msg"}
            assert person["custom_args"]["pp_msg"].isdigit()


def test_strangers_get_no_typed_text(left):
    for one in left:
        if one.source.stream == "transactional":
            assert PERSON["first_name"] not in one.raw, one.key


def test_nothing_watches_the_reader(left):
    for one in left:
        assert all(setting["enable"] is False for setting in one.body["tracking_settings"].values()), one.key
        assert set(one.body["tracking_settings"]) == {
            "click_tracking", "open_tracking", "subscription_tracking", "ganalytics",
        }  # fmt: skip
        page = Page(one.html)
        assert not set(page.tags) & {
            "img",
            "script",
            "link",
            "iframe",
            "object",
            "embed",
            "video",
            "form",
            "base",
        }
        assert not [
            name
            for _, name, _ in page.attrs
            if name in ("src", "srcset", "background", "ping") or name[:2] == "on"
        ]
        assert not re.search(r"url\(|@import|@font-face|expression\(", one.html), one.key
        assert not TRACKERS.search(one.raw), one.key


def test_every_link_leads_home_and_says_nothing(left, database):
    home = urlsplit(database.settings.public_url).netloc
    for one in left:
        values = one.body["personalizations"][0]["substitutions"]
        links = [values.get(value, value) for _, name, value in Page(one.html).attrs if name == "href"]
        links += re.findall(r"https?://[^\s)]+", one.body["content"][0]["value"])
        links += [value for value in values.values() if value.startswith("http")]
        assert links or one.source.transactional, one.key
        for link in links:
            parts = urlsplit(link)
            assert parts.netloc == home, (one.key, link)
            assert not HEALTH.search(f"{parts.path}?{parts.query}"), (one.key, link)
            assert set(re.findall(r"([^&=]+)=", parts.query)) <= {"lang", "answer"}, (one.key, link)


def test_the_envelope_says_who_writes_and_not_what_about(left):
    for one in left:
        head = {
            "from": one.body["from"],
            "headers": one.body.get("headers", {}),
            "reply_to": one.body.get("reply_to"),
        }
        assert not HEALTH.search(json.dumps(head)), one.key
        assert one.body["headers"]["Auto-Submitted"] == "auto-generated"
        for line in (one.body["subject"], one.source.preheader):
            assert line in html.unescape(one.html)
            assert not HEALTH.search(line) or one.source.stream == "provider_nurture", (one.key, line)
            assert len(line) <= 90
            assert line.isprintable()


def test_who_may_stop_finds_it_in_the_header_and_in_the_text(left):
    for one in left:
        person = one.body["personalizations"][0]
        stop = re.fullmatch(
            r"<(https?://[^>]+/u/[^>]+)>", person.get("headers", {}).get("List-Unsubscribe", "")
        )
        assert bool(stop) is not one.source.transactional, one.key
        posts = one.body["headers"].get("List-Unsubscribe-Post")
        assert posts == (None if one.source.transactional else "List-Unsubscribe=One-Click"), one.key
        if stop:
            assert stop[1] in person["substitutions"].values(), one.key


def test_it_is_sound_html_small_and_in_one_language(left):
    for one in left:
        page = Page(one.html)
        assert (page.open, page.wrong) == ([], []), one.key
        html5lib.HTMLParser(strict=True).parse(one.html)  # raises where a browser would have to guess
        assert one.html.lstrip().lower().startswith("<!doctype html>"), one.key
        assert len(one.html.encode()) < 60_000, one.key
        assert ("html", "lang", one.source.language) in page.attrs
        other = {
            "en": r"\b(?:usted|correo|gracias por|el equipo de)\b",
            "es": r"\b(?:you|your|thank|the team)\b",
        }
        assert not re.search(other[one.source.language], page.text, re.IGNORECASE), one.key
