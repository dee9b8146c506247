"""Email link pages, as a person, a scanner and a mailbox provider use them."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from crm.consent import consent_texts, queries, service, suppressions
from crm.consent.models import Confirmation, ConsentRecord, Suppression
from crm.consent.rules import ConfirmationKind
from crm.consent.texts import PAGES
from crm.contacts.models import Contact
from crm.core import clock as time
from crm.core import tokens
from crm.core.db import db, transaction
from crm.core.link_keys import LinkKeys
from crm.core.tokens import Purpose
from tests.conftest import NOW
from tests.consent.factories import email_to, person

EDU, REFERRED = "prospect_edu", "referred_edu"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
TYPES = ["application/x-www-form-urlencoded", "multipart/form-data"]


@pytest.fixture
def jane(client):
    """A person who consented to two topics."""
    with transaction():
        contact = person()
        service.set_topics(contact_id=contact.id, topics=[EDU, REFERRED], language="en")
        return contact.id


@pytest.fixture
def email(jane):
    """The email about EDU that Jane got: (token to stop, token to choose, message id)."""
    with transaction():
        return email_to(jane, EDU)


@pytest.fixture
def question(client):
    """A question that waits for its answer, as (token, id, contact id)."""
    with transaction():
        contact = person("new@example.org")
        asked = service.request_confirmation(
            contact=contact,
            topics=[EDU],
            kind=ConfirmationKind.CONFIRMATION,
            wording=consent_texts.current("contact-form", "en"),
            language="en",
            source="form",
        )
        return tokens.sign(Purpose.CONFIRM, asked.id), asked.id, contact.id


def why_not(contact_id, topic=EDU):
    return queries.refusal(contact_id=contact_id, topic=topic, transactional=False, now=time.now())


def traces():
    """Everything that any of these pages could change."""
    return (
        db.session.execute(select(ConsentRecord.id)).all(),
        db.session.execute(select(Suppression.id, Suppression.lifted_at)).all(),
        db.session.execute(select(Confirmation.confirmed_at)).all(),
        db.session.execute(select(Contact.snooze_until, Contact.language)).all(),
    )


def heading(answer):
    return re.search(r"<h1>\s*(.*?)\s*</h1>", answer.text, re.DOTALL).group(1)


# Yes


def test_confirm(client, question):
    token, _, contact_id = question
    page = client.get(f"/c/{token}")
    assert page.status_code == 200
    assert consent_texts.current("contact-form", "en").text in page.text
    assert why_not(contact_id) == "no_consent"
    assert heading(client.post(f"/c/{token}")) == PAGES["en"]["confirmed_title"]
    assert why_not(contact_id) is None


def test_evidence_has_the_wording_shown(client, question):
    token = question[0]
    assert consent_texts.current("contact-form", "es").text in client.get(f"/c/{token}?lang=es").text
    client.post(f"/c/{token}?lang=es")
    granted = db.session.scalars(select(ConsentRecord).where(ConsentRecord.action == "granted")).one()
    assert granted.wording_hash == consent_texts.current("contact-form", "es").hash
    assert granted.language == "es"


def test_second_click_changes_nothing(client, question):
    client.post(f"/c/{question[0]}")
    before = traces()
    again = client.post(f"/c/{question[0]}")
    assert (again.status_code, heading(again)) == (200, PAGES["en"]["answered_title"])
    assert heading(client.get(f"/c/{question[0]}")) == PAGES["en"]["answered_title"]
    assert traces() == before


def test_suppressed_address_is_promised_nothing(client, question):
    with transaction():
        contact = db.session.get(Contact, question[2])
        suppressions.suppress(
            address_index=contact.email_index, scope="all", reason="bounced", source="event"
        )
    page = client.post(f"/c/{question[0]}")
    assert PAGES["en"]["confirmed_silent_text"] in page.text
    assert PAGES["en"]["confirmed_text"] not in page.text
    assert db.session.scalars(select(ConsentRecord).where(ConsentRecord.action == "granted")).one()


@pytest.mark.parametrize("method", ["get", "post"])
def test_expired_confirmation(client, question, clock, method):
    clock.shift(timedelta(hours=72))
    before = traces()
    page = getattr(client, method)(f"/c/{question[0]}")
    assert (page.status_code, heading(page)) == (410, PAGES["en"]["expired_title"])
    assert 'href="/contact?lang=en"' in page.text
    assert traces() == before


def test_confirmation_of_former_address(client, question):
    with transaction():
        contact = db.session.get(Contact, question[2])
        contact.email = contact.email_index = None
    page = client.post(f"/c/{question[0]}")
    assert (page.status_code, heading(page)) == (410, PAGES["en"]["void_title"])


# No


@pytest.mark.parametrize("content_type", TYPES)
def test_one_click(client, jane, email, content_type):
    for _ in range(3):
        answer = client.post(f"/u/{email.stop}", data=ONE_CLICK, content_type=content_type)
        assert answer.status_code == 200
        assert "Location" not in answer.headers
    assert why_not(jane) == "opted_out"
    withdrawn = db.session.scalars(select(ConsentRecord).where(ConsentRecord.action == "withdrawn")).all()
    assert [(row.topic, row.source, row.message_id) for row in withdrawn] == [
        (EDU, "one_click", email.message_id),
        (REFERRED, "one_click", email.message_id),
    ]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", None),
        (b"\xff\x00 nonsense", "multipart/form-data"),
        (b"{", "application/json"),
        (b"x" * 2**21, "text/plain"),
    ],
)
def test_garbled_one_click_body(client, jane, email, body, content_type):
    assert client.post(f"/u/{email.stop}", data=body, content_type=content_type).status_code == 200
    assert why_not(jane) == "opted_out"


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_scanners_change_nothing(client, jane, email, question, method):
    before = traces()
    paths = (
        f"/u/{email.stop}",
        f"/p/{email.choose}",
        f"/c/{question[0]}",
        f"/u/{email.stop}/topic",
        f"/u/{email.stop}/undo",
    )
    for path in paths:
        for query in ("", "?List-Unsubscribe=One-Click", "?by=page"):
            getattr(client, method)(path + query)
    assert traces() == before
    assert why_not(jane) is None


def test_unsubscribe_then_undo(client, jane, email, clock):
    page = client.get(f"/u/{email.stop}")
    action = re.search(r'action="(/u/[^"]*by=page[^"]*)"', page.text).group(1)
    stopped = client.post(action, data=ONE_CLICK)
    assert heading(stopped) == PAGES["en"]["stopped_title"]
    assert why_not(jane) == "opted_out"
    assert (
        db.session.scalars(select(ConsentRecord.source).order_by(ConsentRecord.id.desc())).first()
        == "unsubscribe_page"
    )
    clock.shift(60)
    undone = client.post(re.search(r'action="(/u/[^"]*/undo)"', stopped.text).group(1))
    assert heading(undone) == PAGES["en"]["undone_title"]
    assert (why_not(jane), why_not(jane, REFERRED)) == (None, None)


def test_undo_too_late(client, jane, email, clock):
    client.post(f"/u/{email.stop}", data=ONE_CLICK)
    clock.shift(timedelta(hours=2))
    page = client.get(f"/u/{email.stop}")
    assert heading(page) == PAGES["en"]["stopped_title"]
    assert "/undo" not in page.text
    assert heading(client.post(f"/u/{email.stop}/undo")) == PAGES["en"]["too_late_title"]
    assert why_not(jane) == "opted_out"


def test_unsubscribe_from_one_topic(client, jane, email):
    assert PAGES["en"]["stop_prospect_edu"] in client.get(f"/u/{email.stop}").text
    page = client.post(f"/u/{email.stop}/topic")
    assert heading(page) == PAGES["en"]["topic_stopped_title"]
    assert (why_not(jane), why_not(jane, REFERRED)) == ("withdrawn", None)


def test_link_without_email_offers_no_topic(client, jane):
    token = tokens.sign(Purpose.UNSUBSCRIBE, jane)
    page = client.get(f"/u/{token}")
    assert page.status_code == 200
    assert "/topic" not in page.text
    assert client.post(f"/u/{token}/topic").status_code == 404


def test_unsubscribe_link_never_expires(client, jane, email, clock, settings, app, monkeypatch):
    clock.shift(timedelta(days=3650))
    keys = LinkKeys(["a-new-key-0123456789-0123456789-0123456", *settings.secret_keys])
    monkeypatch.setattr(app.services, "link_keys", keys)
    assert client.post(f"/u/{email.stop}", data=ONE_CLICK).status_code == 200
    assert why_not(jane) == "opted_out"


def test_erased_person_sees_same_page(client, jane, email):
    with transaction():
        contact = db.session.get(Contact, jane)
        contact.email = contact.email_index = None
        contact.erased_at = NOW
    calls = [client.get(f"/u/{email.stop}"), client.post(f"/u/{email.stop}", data=ONE_CLICK)]
    calls += [client.post(f"/u/{email.stop}/{act}") for act in ("topic", "undo")]
    calls += [client.get(f"/p/{email.choose}"), client.post(f"/p/{email.choose}")]
    nobody = tokens.sign(Purpose.UNSUBSCRIBE, 987654321)
    calls += [client.get(f"/u/{nobody}"), client.post(f"/u/{nobody}", data=ONE_CLICK)]
    assert {(call.status_code, heading(call)) for call in calls} == {(200, PAGES["en"]["gone_title"])}
    with transaction():
        assert why_not(person("jane@example.org").id) == "opted_out"


# Everything between


def test_preferences(client, jane, email):
    page = client.get(f"/p/{email.choose}")
    assert re.findall(r'value="(\w+)"\s+checked', page.text) == [EDU, REFERRED, "en"]
    sent = {"topics": [REFERRED], "until": "2026-03-20", "language": "es"}
    saved = client.post(f"/p/{email.choose}", data=sent)
    assert saved.status_code == 200
    assert PAGES["es"]["saved_text"] in saved.text
    assert (why_not(jane), why_not(jane, REFERRED)) == ("withdrawn", "snoozed")
    contact = db.session.get(Contact, jane)
    assert contact.language == "es"
    assert contact.snooze_until.isoformat() == "2026-03-20T06:00:00+00:00"  # midnight in Denver
    assert 'value="2026-03-20"' in client.get(f"/p/{email.choose}").text


def test_saving_twice_changes_nothing(client, email):
    sent = {"topics": [EDU, REFERRED], "until": "2026-03-20", "language": "en"}
    client.post(f"/p/{email.choose}", data=sent)
    before = traces()
    client.post(f"/p/{email.choose}", data=sent)
    assert traces() == before


@pytest.mark.parametrize("until", ["2026-03-03", "2025-01-01", "2027-03-04", "soon", "2026-02-30"])
def test_invalid_snooze_date(client, email, until):
    before = traces()
    page = client.post(f"/p/{email.choose}", data={"topics": [REFERRED], "until": until, "language": "en"})
    assert page.status_code == 422
    assert "Choose a day between March 4, 2026 and March 3, 2027" in page.text
    assert f'value="{until}"' in page.text
    assert re.findall(r'value="(\w+_edu)"\s+checked', page.text) == [REFERRED]
    assert traces() == before


def test_invalid_language(client, email):
    page = client.post(f"/p/{email.choose}", data={"topics": [EDU], "language": "fr"})
    assert page.status_code == 422
    assert PAGES["en"]["language_error"] in page.text


def test_topics_not_offered_are_ignored(client, jane, email):
    client.post(f"/p/{email.choose}", data={"topics": ["provider_nurture", EDU], "language": "en"})
    assert why_not(jane, "provider_nurture") == "no_consent"


def test_resubscribing_after_opt_out_needs_confirmation(client, jane, email, told):
    client.post(f"/u/{email.stop}", data=ONE_CLICK)
    assert re.findall(r'value="(\w+_edu)"\s+checked', client.get(f"/p/{email.choose}").text) == []
    page = client.post(f"/p/{email.choose}", data={"topics": [EDU], "language": "en"})
    assert "One more step" in page.text
    assert why_not(jane) == "opted_out"
    assert type(told[-1]).__name__ == "ConfirmationRequested"


def test_unsubscribe_all_from_preferences(client, jane, email):
    action = re.search(r'action="(/u/[^"]+)"', client.get(f"/p/{email.choose}").text).group(1)
    assert heading(client.post(action)) == PAGES["en"]["stopped_title"]
    assert why_not(jane) == "opted_out"
    assert (
        db.session.scalars(select(ConsentRecord.source).order_by(ConsentRecord.id.desc())).first()
        == "preferences"
    )


@pytest.mark.parametrize("method", ["get", "post"])
def test_preferences_link_expires(client, jane, email, clock, method):
    assert "/p/" in client.get(f"/u/{email.stop}").text
    clock.shift(timedelta(days=60))
    before = traces()
    page = getattr(client, method)(f"/p/{email.choose}", data={"topics": []})
    assert (page.status_code, heading(page)) == (410, PAGES["en"]["old_title"])
    assert traces() == before
    assert "/p/" not in client.get(f"/u/{email.stop}").text  # nor is there a way round
    assert client.post(re.search(r'action="(/u/[^"]+)"', page.text).group(1)).status_code == 200
    assert why_not(jane) == "opted_out"


# What they have in common


@pytest.mark.parametrize("kind", ["c", "u", "p"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_invalid_links(client, email, question, kind, method):
    tokens_of_others = {"c": email.stop, "u": email.choose, "p": question[0]}
    for token in ("x", tokens_of_others[kind], tokens_of_others[kind][:-2] + "AA"):
        page = getattr(client, method)(f"/{kind}/{token}")
        assert (page.status_code, heading(page)) == (404, PAGES["en"]["unknown_title"])


def test_purged_confirmation(client):
    assert client.get(f"/c/{tokens.sign(Purpose.CONFIRM, 404)}").status_code == 404


def test_headers(client, email, question):
    pages = [
        client.get(f"/c/{question[0]}"),
        client.get(f"/u/{email.stop}"),
        client.get(f"/p/{email.choose}"),
    ]
    pages += [client.post(f"/u/{email.stop}", data=ONE_CLICK), client.get("/u/unreadable")]
    for page in pages:
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"
        assert "noindex" in page.headers["X-Robots-Tag"]
        assert "Set-Cookie" not in page.headers


@pytest.mark.parametrize(
    ("own", "query", "browser", "shown"),
    [
        ("es", "", "en", "es"),
        ("es", "?lang=en", "es", "en"),
        ("en", "?lang=fr", "es", "en"),
        ("en", "?lang=es", "en", "es"),
    ],
)
def test_language(client, jane, email, own, query, browser, shown):
    with transaction():
        service.set_language(contact_id=jane, language=own)
    page = client.get(f"/u/{email.stop}{query}", headers={"Accept-Language": browser})
    assert heading(page) == PAGES[shown]["stop_title"]
    assert f'<html lang="{shown}">' in page.text
    kept = re.findall(r'action="[^"]*lang=(\w\w)', page.text)
    assert set(kept) == ({query[-2:]} if query in ("?lang=en", "?lang=es") else set())


def test_unknown_reader_gets_browser_language(client):
    page = client.get("/u/unreadable", headers={"Accept-Language": "es-MX,es;q=0.9"})
    assert heading(page) == PAGES["es"]["unknown_title"]


def test_languages_have_the_same_texts():
    assert PAGES["en"].keys() == PAGES["es"].keys()
    for key, text in PAGES["en"].items():
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", PAGES["es"][key])), key
