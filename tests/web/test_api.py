"""The JSON API: intake over HTTP, keys, idempotency, and one shape for every error."""

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from crm.db import db, transaction
from crm.leads.models import Lead, Referral
from crm.staff import api_keys

REQUEST = {
    "first_name": "Ana",
    "last_name": "Ruiz",
    "email": "Ana.Ruiz@Example.com",
    "phone": "(213) 555-0142",
    "language": "es",
    "state": "CA",
    "heard_from": "search",
    "message": "Por favor llámenme.",
    "educational_email": True,
    "wording": "contact-form/1",
    "first_touch": {"utm_source": "newsletter", "landing_page": "/pain?x=1"},
}


def referral(**changes):
    return {
        "referrer": {
            "name": "Dr. Lee Park",
            "npi": "1234567893",
            "practice": "Hillside Family Medicine",
            "phone": "+12135550100",
        },
        "patient": {
            "first_name": "Jo",
            "last_name": "Field",
            "birth_date": "1970-05-17",
            "phone": "213 555 0177",
            "email": "jo.field@example.com",
        },
        "reason": {"text": "Complex regional pain syndrome of the right arm.", "diagnoses": ["G90.511"]},
        "patient_informed": True,
        "external_id": "ext-1",
    } | changes


def make_key(*scopes, practice_id=None):
    with transaction():
        _, plain = api_keys.create(name="website", scopes=scopes or api_keys.SCOPES, practice_id=practice_id)
    return {"Authorization": f"Bearer {plain}"}


@pytest.fixture
def key(client):
    return make_key()


def rows(model):
    return db.session.scalar(select(func.count()).select_from(model))


def post(client: FlaskClient, key, body, path="contact-requests", **headers):
    return client.post(f"/api/v1/{path}", json=body, headers=key | headers)


def test_contact_request(client, key):
    response = post(client, key, REQUEST)
    assert response.status_code == 201
    lead = db.session.scalar(select(Lead).where(Lead.reference == response.json["reference"]))
    assert (lead.contact.email, lead.contact.phone) == ("ana.ruiz@example.com", "+12135550142")
    assert (lead.contact.time_zone, lead.stage, lead.source) == ("America/Los_Angeles", "unconfirmed", "api")
    assert lead.first_touch == {"utm_source": "newsletter", "landing_page": "/pain"}


def test_referral(client, key):
    response = post(client, key, referral(), "referrals")
    assert response.status_code == 201
    assert response.json["reference"].startswith("R-")
    assert rows(Referral) == 1
