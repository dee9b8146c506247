"""The buttons of emails: what a person, a scanner and a forwarded link do."""

import re

import pytest
from sqlalchemy import select, text

from crm.consent.texts import PAGES
from crm.content.render.rendering import render
from crm.content.render.source import parse
from crm.core import tokens
from crm.core.db import db, transaction
from crm.core.tokens import Purpose
from crm.messages.engine import personalize
from crm.messages.models import Addressee, Message, MessageAnswer
from crm.messages.rules import STREAMS, Answer
from tests.content.test_rendering import BLOCKS, CLINIC, LAYOUT
from tests.messages.test_engine import enrolled, plan


@pytest.fixture
def link(outbox, client) -> str:
    """The link of the first email of a sequence."""
    enrolled()
    plan()
    message_id = db.session.scalars(select(Message.id).where(Message.step == 0)).one()
    db.session.commit()
    return f"/a/{tokens.sign(Purpose.ANSWER, message_id)}"


def said() -> list[str]:
    return [
        str(one) for one in db.session.scalars(select(MessageAnswer.answer).order_by(MessageAnswer.answer))
    ]


def test_a_scanner_that_opens_every_link_says_nothing(client, link):
    for address in (link, f"{link}?answer=call", f"{link}?answer=nonsense"):
        assert client.get(address).status_code == 200
        assert client.head(address).status_code == 200
    assert client.get(f"{link}/call").status_code == 405
    assert said() == []


def test_the_answer_of_the_link_comes_first(client, link):
    page = client.get(f"{link}?answer=not_now&lang=es").text
    assert re.findall(r'action="/a/[^/]+/(\w+)', page)[0] == "not_now"
    assert PAGES["es"]["answer_not_now"] in page


@pytest.mark.parametrize("answer", list(Answer))
def test_a_button_is_a_fact_once(client, link, answer):
    for _ in range(2):
        page = client.post(f"{link}/{answer}")
        assert (page.status_code, PAGES["en"][f"answer_{answer}_title"] in page.text) == (200, True)
    assert said() == [answer]
    assert page.headers["Cache-Control"] == "no-store"


def test_what_is_refused(client, link):
    assert client.post(f"{link}/buy").status_code == 404
    for token in ("preview", tokens.sign(Purpose.UNSUBSCRIBE, 1), tokens.sign(Purpose.ANSWER, 10**9)[:-3]):
        assert client.post(f"/a/{token}/call").status_code == 404
    unknown = client.post(f"/a/{tokens.sign(Purpose.ANSWER, 10**9)}/call")
    assert PAGES["en"]["gone_title"] in unknown.text
    with transaction():
        db.session.execute(text("update contact set erased_at = now()"))
    assert PAGES["en"]["gone_title"] in client.post(f"{link}/call").text
    assert said() == []


BODY = """---
subject: "A question"
preheader: "One question."
purpose: "Ask."
stream: prospect_edu
language: en
claims: []
blocks: []
cta: call_url
---

Hello {{ first_name }},

[[button: I would like a call | call_url]]

Or say [not now](not_now_url).
"""


def test_each_person_gets_links_of_their_own_message(app):
    rendered = render(parse(BODY), blocks=BLOCKS, layout=LAYOUT, clinic=CLINIC)
    rows = [Addressee(number, 1, "a@x.example", "Ana", "UTC", None, None, None) for number in (7, 8)]
    with app.app_context():
        made = personalize.recipients(
            rows, rendered=rendered, stream=STREAMS["prospect_edu"], clinic=app.settings.clinic,
            public_url="https://clinic.example", batch_id=1,
        )  # fmt: skip
        signed = tokens.sign_many(Purpose.ANSWER, [7, 8])
    for token, one in zip(signed, made, strict=True):
        assert f"https://clinic.example/a/{token}?answer=call" in one.substitutions.values()
        assert f"https://clinic.example/a/{token}?answer=not_now" in one.substitutions.values()
