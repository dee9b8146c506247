"""From the code on a practice's poster to a lead with that practice credited."""

import io
import re

import pytest
import segno
from sqlalchemy import select

from crm.core import current
from crm.core.db import db, transaction
from crm.desk import lead_detail
from crm.intake import proof_of_work
from crm.leads.models import Lead
from crm.referrers import poster, service
from crm.referrers.service import Sender
from tests.intake.test_public import inputs, solve
from tests.support import factories as support_factories


@pytest.fixture
def practices(database, monkeypatch):
    """Two practices with a poster each."""
    monkeypatch.setattr(proof_of_work, "DIFFICULTY", 50)
    with transaction():
        support_factories.shipped()
        return [
            service.find_or_create(
                sender=Sender(clinician="Dr. Ada North", npi=npi, practice=name)
            ).practice_id
            for npi, name in (("1234567893", "North Clinic"), ("1558598797", "South Clinic"))
        ]


def as_code(address):
    out = io.BytesIO()
    made = segno.make(address, error="m", micro=False)
    made.save(out, kind="svg", scale=6, border=4, dark="#000", light="#fff", xmldecl=False, nl=False)
    return out.getvalue()


@pytest.mark.parametrize("lang", ["en", "es"])
def test_who_scans_the_poster_is_credited_to_its_practice(practices, client, clock, lang):
    _, practice_id = practices
    home = current.settings().public_url
    address = poster.address(practice_id, public_url=home)
    assert poster.qr_code(practice_id, public_url=home) == as_code(address)
    first = client.get(address.removeprefix(home))
    here = next(
        found for found in re.findall(r'href="(/contact\?[^"]+)"', first.text) if f"lang={lang}" in found
    )
    form = inputs(client.get(here.replace("&amp;", "&")))
    clock.shift(10)
    refused = client.post("/contact", query_string={"lang": lang}, data=form)
    assert refused.status_code == 422
    typed = {
        "first_name": "Ana",
        "last_name": "Ruiz",
        "email": "ana.ruiz@example.com",
        "phone": "(213) 555-0142",
        "state": "CA",
        "heard_from": "doctor",
        "language": lang,
        "message": "Please call me.",
    }
    more = {"altcha": solve(client.get("/contact/challenge").json)}
    answer = client.post("/contact", query_string={"lang": lang}, data=inputs(refused) | typed | more)
    assert answer.status_code == 303, answer.text
    lead = db.session.scalar(select(Lead))
    assert (lead.source, lead.first_touch["practice"]) == ("form", str(practice_id))
    [(_, told)] = lead_detail.attribution(lead, [])
    assert ("Practice", "South Clinic") in told
