"""One way in: the same person, typed or pasted by any hand, is stored alike through every way in."""

import csv
import io
from datetime import date, timedelta

import pytest
from flask import g
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from crm.contacts.models import Contact
from crm.core.db import db
from crm.core.text import clean
from crm.intake import proof_of_work
from crm.leads.models import Lead
from crm.portal.uploads import service as uploads
from jobs import interop as jobs
from tests.intake.test_bad_input import Doors
from tests.portal.test_portal import enter, refer
from tests.portal.test_uploads import guessed, kept, put, send
from tests.support.browser_client import signed_in

UNSEEN = st.sampled_from(["", "\u200b", "\u00ad", "\ufeff", "\u202e", "\u2060", "\u200e"])
BLANKS = st.sampled_from(["", " ", "\u00a0", "\t", "\u3000"])
LATIN = ("Ana Maria", "José", "O’Brien", "Núñez-García", "Zoë", "Jo", "Siobhán")


@st.composite
def pasted(draw, texts):
    """A text as it comes out of a word processor or a chat: with what nobody sees or means in and around it."""
    text = draw(st.sampled_from(texts))
    place = draw(st.integers(0, len(text)))
    text = text[:place] + draw(UNSEEN) + text[place:]
    text = text.replace("’", draw(st.sampled_from("’´`‘'"))).replace(
        " ", draw(st.sampled_from([" ", "\u00a0"]))
    )
    return draw(BLANKS) + text + draw(BLANKS)


PEOPLE = st.fixed_dictionaries(
    {
        "first_name": pasted(LATIN),
        "last_name": pasted((*LATIN, "")),
        "phone": pasted(("213-555-0142", "(213) 555 0142 x12", "+1 213.555.0142", "not a number", "N/A")),
        "state": st.sampled_from(["CA", "California", "calif.", "Narnia", ""]),
        "language": st.sampled_from(["es", "es-MX", "Español", "en", "ENGLISH"]),
        "text": pasted(("Pain for years", "• CRPS", "¿Me ayuda? 🙂")),
    }
)


class EveryDoor(Doors):
    """All ways in, each taking the same answers; what is typed goes in as it is."""

    def __init__(self, client, clock, app, redis):
        super().__init__(client, clock, app)
        self.redis, self.number = redis, 0
        self.visitor = enter(app, self.nurse)
        self.staff = signed_in(app, "admin")
        self.staff.get("/console/new")

    def send(self, door, who):
        """Send a person by one way in, with an address and a birth date of their own; return the address."""
        self.redis.flushdb()  # no limit of requests
        g.pop("csrf_token", None)  # of another visitor: all share the context of the test
        self.number += 1
        email = f"p{self.number}@example.test"
        more = {name: who[name] for name in ("last_name", "phone", "state", "language")} | {
            "email": f"\u200b{email} "
        }
        getattr(self, f"by_{door}")(
            who["first_name"], who["text"], str(date(1930, 1, 1) + timedelta(days=self.number)), more
        )
        return email

    def by_form(self, name, text, _born, more):
        spoken = "es" if more["language"].lower().startswith("es") else "en"  # two buttons
        assert self.form(name, message=text, **more | {"language": spoken})[0] == 303

    def by_api(self, name, text, _born, more):
        assert self.api(name, message=text, **more)[0] == 201

    def by_referral(self, name, text, born, more):
        assert self.referral(name, birth_date=born, **more)[0] == 201

    def by_portal(self, name, text, born, more):
        answer = refer(self.visitor, first_name=name, birth_date=born, reason=text, **more)
        if not read_phone(more["phone"]):  # the page asks once more for what staff will call
            assert answer.status_code == 422
            answer = refer(
                self.visitor,
                first_name=name,
                birth_date=born,
                reason=text,
                **more | {"phone": "213 555 0142"},
            )
        assert answer.status_code == 303

    def by_upload(self, name, text, born, more):
        content = table({"First name": name, "DOB": born, "Reason": text} | more)
        upload_id = kept(put(self.visitor, content))
        assert guessed(self.visitor, upload_id).status_code == 303
        assert send(self.visitor, upload_id).status_code == 303
        jobs.referrals(upload_id)
        assert [row.state for row in uploads.rows_of(upload_id)] == ["taken"]

    def by_import(self, name, text, born, more):
        run = self.imported(table({"First name": name, "Message": text, "Date of birth": born} | more))
        assert (run.state, run.new, run.errors) == ("done", 1, 0)

    def by_hand(self, name, text, _born, more):
        typed = more | {
            "what": "lead",
            "source": "phone",
            "first_name": name,
            "message": text,
            "contact": "new",
        }
        typed["state"] = "" if more["state"] == "Narnia" else more["state"]  # a list to choose from
        typed["phone"] = more["phone"] if read_phone(more["phone"]) else ""  # the page asks once more
        assert self.staff.post("/console/new", typed).status_code == 302


def read_phone(text):
    return "555" in clean(text)


def table(cells):
    written = io.StringIO(newline="")
    csv.writer(written).writerows([list(cells), list(cells.values())])
    return written.getvalue().encode("utf-8-sig")


DOORS = [name.removeprefix("by_") for name in vars(EveryDoor) if name.startswith("by_")]


@pytest.fixture
def every_door(client, clock, database, redis, monkeypatch):
    monkeypatch.setattr(proof_of_work, "DIFFICULTY", 50)
    return EveryDoor(client, clock, database, redis)


def stored(email):
    """The person as stored, without what only some ways ask for."""
    found = db.session.scalars(select(Contact).where(Contact.email == email)).one()
    lead = db.session.scalars(select(Lead).where(Lead.contact_id == found.id)).one()
    assert lead.stage in ("new", "received")
    return found.first_name, found.last_name, found.phone, found.language, found.state, found.time_zone


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(who=PEOPLE)
def test_the_same_person_is_stored_alike(every_door, who):
    found = {door: stored(every_door.send(door, who)) for door in DOORS}
    expected = found["api"]
    assert all(text == text.strip() and text.isprintable() for text in expected[:2])
    for door, person in found.items():
        if door == "portal" and not read_phone(who["phone"]):  # there it was asked for once more
            person = (*person[:2], expected[2], *person[3:])
        assert person == expected, door
