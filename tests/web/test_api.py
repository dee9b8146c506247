"""JSON API: intake, keys, idempotency, and the shape of errors."""

import json
from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select, text
from structlog.testing import capture_logs

from crm.consent.models import Confirmation, ConsentRecord
from crm.contacts.models import Activity, Contact
from crm.core import current, limits
from crm.core.current import PerApp
from crm.core.db import db, transaction
from crm.leads import rules
from crm.leads.models import Lead, Referral, Task
from crm.referrers import service as referrers
from crm.referrers.service import Sender
from crm.sequences.models import Enrolment
from crm.staff.keys import api_auth, api_keys
from crm.staff.models import ApiKey, KeptReply
from tests.support import factories as support_factories

REQUEST = {
    "first_name": "Ana",
    "last_name": "Ruiz",
    "email": "Ana.Ruiz@Example.com",
    "phone": "(213) 555-0142",
    "language": "es",
    "state": "CA",
    "heard_from": "search",
    "message": "Por favor llámenme.",
    "first_touch": {"utm_source": "newsletter", "landing_page": "/pain?x=1"},
}
TICKED = REQUEST | {"educational_email": True, "wording": "contact-form/1"}
PATIENT = {
    "first_name": "Jo",
    "last_name": "Field",
    "birth_date": "1970-05-17",
    "phone": "213 555 0177",
    "email": "jo.field@example.com",
}


def referral(**changes):
    return {
        "referrer": {
            "name": "Dr. Lee Park",
            "npi": "1234567893",
            "practice": "Hillside Family Medicine",
            "phone": "+12135550100",
        },
        "patient": PATIENT,
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


@pytest.fixture
def mail(database):
    """The shipped emails, approved: a person who checks the box gets one."""
    with transaction():
        support_factories.shipped()


def rows(model):
    return db.session.scalar(select(func.count()).select_from(model))


def post(client: FlaskClient, key, body, path="contact-requests", **headers):
    return client.post(f"/api/v1/{path}", json=body, headers=key | headers)


def test_contact_request(client, key, mail):
    response = post(client, key, TICKED)
    assert (response.status_code, response.headers["Cache-Control"]) == (201, "no-store")
    lead = db.session.scalar(select(Lead).where(Lead.reference == response.json["reference"]))
    assert (lead.contact.email, lead.contact.phone) == ("ana.ruiz@example.com", "+12135550142")
    assert (lead.contact.time_zone, lead.stage, lead.source) == ("America/Los_Angeles", "unconfirmed", "api")
    assert lead.first_touch == {"utm_source": "newsletter", "landing_page": "/pain"}


def test_the_least_a_contact_request_needs(client, key):
    response = post(client, key, {"first_name": "Al", "last_name": "Bo", "email": "al@example.com"})
    assert response.status_code == 201
    lead = db.session.scalar(select(Lead))
    assert (lead.stage, lead.message, lead.contact.language) == ("new", None, "en")
    assert rows(ConsentRecord) == 0


def test_sent_twice_without_a_key_is_one_lead(client, key, mail):
    first, second = post(client, key, TICKED), post(client, key, TICKED)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json == second.json
    assert (rows(Lead), rows(Contact), rows(Confirmation)) == (1, 1, 1)


def test_the_same_answer_for_known_and_unknown(client, key, mail):
    unknown = post(client, key, TICKED)
    known = post(client, key, TICKED | {"message": "Another question"})
    assert unknown.status_code == known.status_code == 201
    assert unknown.json.keys() == known.json.keys() == {"reference"}


# --- referrals


def test_referral_opens_a_call_task(client, key):
    response = post(client, key, referral(), "referrals")
    assert response.status_code == 201
    assert response.json["reference"].startswith("R-")
    kept = db.session.scalar(select(Referral))
    assert (kept.lead.stage, kept.patient_agreed_to_email, kept.external_id) == ("received", False, "ext-1")
    assert "pain syndrome" in kept.health
    assert db.session.scalars(select(Task.kind)).all() == ["call"]
    assert (rows(Confirmation), rows(ConsentRecord)) == (0, 0)


def test_referral_sends_an_invitation_at_most(client, key, mail):
    body = referral(agreed_to_email=True, attestation="referral-attestation/1")
    assert post(client, key, body, "referrals").status_code == 201
    assert db.session.scalars(select(Confirmation.kind)).all() == ["invitation"]
    assert db.session.scalars(select(ConsentRecord.action)).all() == ["attested"]
    assert db.session.scalar(select(Referral.attestation)) == "referral-attestation/1"
    assert rows(Enrolment) == 0


def test_health_facts_are_encrypted(client, key):
    body = referral(payer={"name": "Acme Health", "member_id": "ZX-99-4711"})
    body["patient"] = PATIENT | {
        "birth_date": "2015-05-17",
        "guardian": {"name": "Kim Field", "relation": "mother", "phone": "213 555 0178"},
    }
    assert post(client, key, body, "referrals").status_code == 201
    dump = "".join(
        row
        for table in ("referral", "lead", "contact", "activity", "audit_entry", "task")
        for row in db.session.scalars(text(f"select to_jsonb(t)::text from {table} t"))
    )
    for secret in ("pain syndrome", "G90.511", "ZX-99-4711", "Acme", "Kim", "2015-05-17", "2135550178"):
        assert secret not in dump
        assert secret.encode().hex() not in dump


def test_same_external_id(client, key):
    first = post(client, key, referral(), "referrals")
    again = post(client, key, referral(reason={"text": "Sent again, with more."}), "referrals")
    assert (first.status_code, again.status_code, first.json) == (201, 200, again.json)
    other = referral(
        patient=PATIENT | {"first_name": "Max", "email": "max@example.com", "birth_date": "1981-01-01"}
    )
    clash = post(client, key, other, "referrals")
    assert (clash.status_code, clash.json["error"]["code"]) == (409, "conflict")
    assert rows(Lead) == 1


def test_key_of_another_practice_is_refused(client, key):
    with transaction():
        mine = referrers.find_or_create(
            sender=Sender(clinician="May Cho", npi="1558598797", practice="Valley Clinic")
        )
        referrers.find_or_create(
            sender=Sender(clinician="Lee Park", npi="1234567893", practice="Hillside Family Medicine")
        )
        practice_id = mine.practice_id
    bound = make_key("referrals:write", "leads:read", practice_id=practice_id)
    refused = post(client, bound, referral(), "referrals")
    assert (refused.status_code, rows(Lead)) == (409, 0)
    own = referral()
    own["referrer"] = own["referrer"] | {"npi": "1558598797"}
    assert post(client, bound, own, "referrals").status_code == 201


# --- status


def test_status_is_for_the_key_that_sent_it(client, key):
    reference = post(client, key, referral(), "referrals").json["reference"]
    answer = client.get(f"/api/v1/leads/{reference}", headers=key)
    assert answer.status_code == 200
    assert answer.json.keys() == {
        "reference", "kind", "stage", "fhir_task_status", "bser_status", "received_at", "stage_at"
    }  # fmt: skip
    assert (answer.json["stage"], answer.json["fhir_task_status"], answer.json["bser_status"]) == (
        "received",
        "received",
        "2.0",
    )
    stranger = make_key("leads:read")
    assert client.get(f"/api/v1/leads/{reference}", headers=stranger).status_code == 404
    practice_id = db.session.scalar(select(Referral.practice_id))
    colleague = make_key("leads:read", practice_id=practice_id)
    assert client.get(f"/api/v1/leads/{reference}", headers=colleague).status_code == 200


def test_wordings_are_there_to_be_shown(client, key):
    answer = client.get("/api/v1/wordings", headers=key)
    assert {(one["name"], one["language"]) for one in answer.json} == {
        ("contact-form/1", "en"),
        ("contact-form/1", "es"),
        ("referral-attestation/1", "en"),
        ("referral-attestation/1", "es"),
    }


# --- keys


def test_keys_are_kept_as_hashes_only(client, key):
    row = db.session.scalar(select(ApiKey))
    plain = key["Authorization"].split()[1]
    assert plain.startswith(row.hint)
    assert len(row.key_hash) == 32
    assert plain.encode() not in row.key_hash
    assert row.last_used_at is None
    post(client, key, REQUEST)
    assert db.session.scalar(select(ApiKey.last_used_at)) is not None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer crm_nonsense"},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer"},
    ],
)
def test_no_key_no_entry(client, key, headers):
    answer = post(client, headers, REQUEST)
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "no_key")
    assert answer.headers["WWW-Authenticate"].lower().startswith("bearer")


def test_a_revoked_key_opens_nothing(client, key):
    with transaction():
        api_keys.revoke(db.session.scalar(select(ApiKey.id)))
    assert post(client, key, REQUEST).status_code == 401


def test_a_key_without_the_scope(client, key):
    answer = post(client, make_key("leads:read"), REQUEST)
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "not_allowed")


# --- errors: every refusal once, in one shape

WRONG = [
    ({"nickname": "A"}, {"nickname": ["Unknown field."]}),
    ({"first_name": None, "last_name": "-"}, {"first_name": ["This is required."], "last_name": ["This is required."]}),
    ({"first_name": "", "last_name": "N/A"}, {"first_name": ["This is required."], "last_name": ["This is required."]}),
    ({"first_name": "www.spam.com"}, {"first_name": ["A name cannot contain a web or email address."]}),
    ({"last_name": "x" * 61}, {"last_name": ["Use at most 60 characters for a name; this has 61."]}),
    ({"phone": None, "email": "ana\r\nBcc: b@example.com"}, {"email": ["Enter an email address such as name@example.com."]}),
    ({"phone": None, "email": 12}, {"email": ["Enter an email address such as name@example.com."]}),
    ({"phone": None, "email": None}, {"email": ["Enter an email address or a phone number."]}),
    ({"phone": None, "email": "none@none.com"}, {"email": ["This address reaches nobody. Leave it empty if there is none."]}),
    ({"time_zone": "Mars"}, {"time_zone": ["Use a time zone name such as America/Los_Angeles."]}),
    ({"message": "x" * 1001}, {"message": ["Use at most 1,000 characters; this has 1,001."]}),
    ({"message": "a\0b"}, {"body": ["There are characters in the request that cannot be stored."]}),
    ({"educational_email": "yes"}, {"educational_email": ["Not a valid boolean."]}),
    ({"wording": None}, {"wording": ["Name the wording that was agreed to; in use now: contact-form/1."]}),
    ({"wording": "contact-form/99"}, {"wording": ["Name the wording that was agreed to; in use now: contact-form/1."]}),
    ({"wording": "preferences/1"}, {"wording": ["Name the wording that was agreed to; in use now: contact-form/1."]}),
    ({"first_touch": {"utm_id": "1"}}, {"first_touch.utm_id": ["Unknown field."]}),
    ({"first_touch": "x"}, {"first_touch": [
        "Send “first_touch” as one JSON object of named fields, {…}: not as a list, a text, a number or null."]}),
]  # fmt: skip


@pytest.mark.parametrize(("change", "fields"), WRONG)
def test_wrong_fields_of_a_contact_request(client, key, change, fields):
    answer = post(client, key, TICKED | change)
    assert answer.status_code == 422
    assert answer.json == {
        "error": {"code": "invalid", "message": "Some fields need another look.", "fields": fields}
    }
    assert rows(Contact) == 0


UNREAD = {"phone": 12, "language": "fr", "state": ["Califrnia"], "heard_from": "radio"}


def test_optional_values_are_left_out_and_listed(client, key):
    touch = {"utm_source": "x" * 500}
    answer = post(client, key, REQUEST | UNREAD | {"first_touch": touch})
    assert (answer.status_code, answer.json["left_out"]) == (
        201, ["Phone", "Language", "State", "Heard from"]
    )  # fmt: skip
    lead = db.session.scalars(select(Lead)).one()
    assert (lead.contact.phone, lead.contact.language, lead.contact.state) == (None, "en", None)
    assert lead.first_touch == {"utm_source": "x" * rules.TOUCH_LIMIT}
    [line] = db.session.scalars(select(Activity).where(Activity.kind == "left_out"))
    assert line.lead_id == lead.id
    assert line.text == 'Could not read: Phone “12”; Language “fr”; State “["Califrnia"]”; Heard from “radio”'


def test_referrals_keep_what_can_be_read(client, key):
    body = referral(
        reason={"text": "x", "diagnoses": ["g90511", "chronic pain", "G89.4\n", 7]},
        patient=PATIENT | {"birth_date": "5/17/70", "email": "n/a", "state": "Calif.", "language": "es-MX"},
        referrer=referral()["referrer"] | {"phone": "213 555 0100 ext 3", "fax": "none of your business"},
        urgency="ASAP",
        service="surgery",
        attachments=["a.pdf"] * 21,
        payer={"member_id": "M-1"},
        sent_at="yesterday",
    )
    answer = post(client, key, body, "referrals")
    assert (answer.status_code, answer.json.get("left_out")) == (
        201, ["Referrer fax", "Diagnosis", "Diagnosis", "Service", "Attachment", "Sent at"],
    )  # fmt: skip
    kept = db.session.scalars(select(Referral)).one()
    assert (kept.urgency, kept.service) == ("urgent", "consult")
    assert json.loads(kept.health)["payer"] == {"name": "", "member_id": "M-1"}


def test_a_patient_with_an_address_needs_no_readable_phone(client, key):
    answer = post(client, key, referral(patient=PATIENT | {"phone": "ask the daughter"}), "referrals")
    assert (answer.status_code, answer.json["left_out"]) == (201, ["Phone"])


def test_codes_as_people_write_them(client, key):
    body = referral(
        reason={"text": "x", "diagnoses": ["g90511", "G89.4\n"]},
        patient=PATIENT | {"birth_date": "5/17/70", "email": "n/a", "state": "Calif.", "language": "es-MX"},
        referrer=referral()["referrer"] | {"phone": "213 555 0100 ext 3"},
    )
    answer = post(client, key, body, "referrals")
    assert (answer.status_code, answer.json.get("left_out")) == (201, None)
    lead = db.session.scalars(select(Lead)).one()
    contact = lead.contact
    assert (contact.birth_date, contact.email, contact.state, contact.language) == (
        "1970-05-17", None, "CA", "es"
    )  # fmt: skip
    assert json.loads(lead.referral.health)["reason"]["diagnoses"] == ["G90.511", "G89.4"]
    assert lead.referral.practice.phone == "+12135550100;ext=3"


@pytest.mark.parametrize("names", [("", "Nguyen"), ("Ana", "-"), (None, "Nguyen"), ("Ana", "N/A")])
def test_one_name_is_enough(client, key, names):
    assert (
        post(client, key, REQUEST | dict(zip(("first_name", "last_name"), names, strict=True))).status_code
        == 201
    )
    contact = db.session.scalars(select(Contact)).one()
    assert {contact.first_name, contact.last_name} in ({"", "Nguyen"}, {"Ana", ""})


def test_missing_fields(client, key):
    answer = post(client, key, {})
    assert answer.json["error"]["fields"].keys() == {"first_name", "last_name", "email"}


@pytest.mark.parametrize("body", ["[]", "null", '"text"', "7", "[{}]"])
def test_a_body_that_is_no_object(client, key, body):
    answer = client.post(
        "/api/v1/contact-requests", data=body, headers=key | {"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    words = "Send the body as one JSON object of named fields, {…}: not as a list, a text, a number or null."
    assert answer.json["error"]["fields"] == {"body": [words]}
    assert rows(Contact) == 0


WRONG_REFERRAL = [
    (referral(referrer=referral()["referrer"] | {"npi": "1234567890"}), "referrer.npi"),
    (referral(patient=PATIENT | {"birth_date": "1870-01-01"}), "patient.birth_date"),
    (referral(patient=PATIENT | {"birth_date": "17/05/1970"}), "patient.birth_date"),
    (referral(patient=PATIENT | {"birth_date": "2015-01-01"}), "patient.guardian"),
    (referral(patient=PATIENT | {"phone": None}), "patient.phone"),
    (referral(patient=PATIENT | {"phone": "12", "email": "ana"}), "patient.phone"),
    (referral(reason={"text": "N/A"}), "reason.text"),
    (referral(referrer=referral()["referrer"] | {"name": "-"}), "referrer.name"),
    (referral(agreed_to_email=True), "attestation"),
    (referral(agreed_to_email=True, attestation="contact-form/1"), "attestation"),
    (
        referral(
            agreed_to_email=True, attestation="referral-attestation/1", patient=PATIENT | {"email": None}
        ),
        "patient.email",
    ),
    (referral(extra=1), "extra"),
]


@pytest.mark.parametrize(("body", "field"), WRONG_REFERRAL)
def test_wrong_fields_of_a_referral(client, key, body, field):
    answer = post(client, key, body, "referrals")
    assert (answer.status_code, list(answer.json["error"]["fields"])) == (422, [field])


def test_malformed_over_long_and_wrong_type(client, key):
    def send(data, content_type="application/json"):
        answer = client.post(
            "/api/v1/contact-requests", data=data, headers=key | {"Content-Type": content_type}
        )
        return answer.status_code, answer.json["error"]["code"]

    assert send(b"{") == (400, "malformed")
    assert send(b'{"first_name": "\xff"}') == (400, "malformed")
    assert send(b"[" * 20_000 + b"]" * 20_000) == (400, "malformed")
    assert send(b'{"message": "' + b"x" * api_auth.BODY_LIMIT + b'"}') == (413, "too_long")
    assert send(b"first_name=Ana", "application/x-www-form-urlencoded") == (415, "wrong_type")


def test_no_such_address_or_method(client, key):
    nowhere = client.get("/api/v1/nothing", headers=key)
    assert (nowhere.status_code, nowhere.json["error"]["code"]) == (404, "not_found")
    wrong = client.get("/api/v1/contact-requests", headers=key)
    assert (wrong.status_code, wrong.json["error"]["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]
    assert client.get("/api/v1/leads/R-000000", headers=key).json["error"]["code"] == "not_found"


# --- once


def test_idempotency_key(client, key):
    headers = {"Idempotency-Key": "abc-1"}
    first = post(client, key, REQUEST, **headers)
    with transaction():
        db.session.expire_all()
    again = post(client, key, REQUEST, **headers)
    assert (first.status_code, again.status_code, first.json) == (201, 201, again.json)
    assert again.headers["Idempotent-Replay"] == "true"
    assert rows(Lead) == 1


def test_an_idempotency_key_is_for_one_request(client, key):
    post(client, key, REQUEST, **{"Idempotency-Key": "abc-1"})
    other = post(client, key, REQUEST | {"message": "Other"}, **{"Idempotency-Key": "abc-1"})
    assert (other.status_code, list(other.json["error"]["fields"])) == (422, ["Idempotency-Key"])
    elsewhere = post(client, key, referral(), "referrals", **{"Idempotency-Key": "abc-1"})
    assert elsewhere.status_code == 422
    stranger = post(client, make_key(), REQUEST | {"message": "Third"}, **{"Idempotency-Key": "abc-1"})
    assert stranger.status_code == 201


def test_refused_request_may_reuse_its_key(client, key):
    refused = post(client, key, REQUEST | {"phone": None, "email": "no"}, **{"Idempotency-Key": "abc-1"})
    assert (refused.status_code, rows(KeptReply)) == (422, 0)
    assert post(client, key, REQUEST, **{"Idempotency-Key": "abc-1"}).status_code == 201


def test_a_key_is_free_again_after_a_day(client, key, clock):
    post(client, key, REQUEST, **{"Idempotency-Key": "abc-1"})
    clock.shift(24 * 3600 + 1)
    later = post(client, key, REQUEST | {"message": "Other"}, **{"Idempotency-Key": "abc-1"})
    assert (later.status_code, rows(Lead)) == (201, 2)
    clock.shift(24 * 3600 + 1)
    with transaction():
        api_keys.forget_replies()
    assert rows(KeptReply) == 0


@pytest.mark.parametrize("odd", ["", "x" * 201, "clé"])
def test_odd_idempotency_keys(client, key, odd):
    answer = post(client, key, REQUEST, **{"Idempotency-Key": odd})
    assert answer.json["error"]["fields"].keys() == {"Idempotency-Key"}


# --- often


def test_limit_of_a_key(client, key, monkeypatch):
    monkeypatch.setattr(
        client.application, "settings", replace(client.application.settings, api_per_minute=2)
    )
    statuses = [client.get("/api/v1/wordings", headers=key).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    slow = client.get("/api/v1/wordings", headers=key)
    assert slow.json["error"]["code"] == "too_many"
    assert 0 < int(slow.headers["Retry-After"]) <= 60
    assert client.get("/api/v1/wordings", headers=make_key()).status_code == 200


def test_guessing_keys_is_slowed_down(client, key, monkeypatch):
    monkeypatch.setattr(api_auth, "GUESSES", 1)
    wrong = {"Authorization": "Bearer crm_guess"}
    assert [post(client, wrong, REQUEST).status_code for _ in range(2)] == [401, 429]
    assert post(client, key, REQUEST).status_code == 201


def test_limits_without_redis(client, key, redis, monkeypatch):
    monkeypatch.setattr(
        client.application, "settings", replace(client.application.settings, api_per_minute=2)
    )
    monkeypatch.setattr(limits, "_memory", PerApp(lambda _: limits._Memory()))
    current.services().redis = type(redis).from_url("redis://127.0.0.1:1")
    with capture_logs() as told:
        statuses = [client.get("/api/v1/wordings", headers=key).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]  # this process goes on counting by itself
    assert "limits.redis_away" in [line["event"] for line in told]


# --- described


def test_openapi(client, key):
    told = client.get("/api/v1/openapi.json").json
    assert told["openapi"] == "3.1.0"
    assert set(told["paths"]) >= {
        "/api/v1/contact-requests", "/api/v1/referrals", "/api/v1/leads/{reference}", "/api/v1/wordings"
    }  # fmt: skip
    assert told["components"]["securitySchemes"]["key"] == {"type": "http", "scheme": "bearer"}
    shape = told["components"]["schemas"]["ContactRequest"]
    assert "required" not in shape  # an email address or a phone number: its description says so
    assert shape["additionalProperties"] is False


# --- bodies no writer of JSON should send

BROKEN = [
    b"", b"{", b"nul", b'{"a": 1} x', b"\xff\xfe{\x00}\x00", b'{"first_name": "\xff"}', b"[" * 30_000, b'{"a":' * 9_000,
    b'{"owner_id": ' + b"9" * 5000 + b"}", b'{"first_name": NaN}', b'{"owner_id": Infinity}', b'{"owner_id": 1e999}',
    b'{"first_name": "Ana", "first_name": "Ben"}', b'{"first_name": "\\ud800"}', b'{"first_name": "a\\u0000b"}',
    b'{"\\ud800": 1, "\\ud800": 2}', b'{"first_name": {"a": []}}', b'{"diagnoses": 7, "patient": [], "referrer": null}',
]  # fmt: skip


def _addresses(app):
    """(method, address) of every endpoint of the API that takes a body."""
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/api/v1/"):
            address = rule.rule.replace("<int:", "<").replace(">", "")
            for method in rule.methods & {"POST", "PUT", "PATCH", "DELETE"}:
                yield method, "/".join("7" if part.startswith("<") else part for part in address.split("/"))


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
def test_broken_bodies_never_fail(client, key, body):
    headers = key | {"Content-Type": "application/json", "If-Match": '"1"'}
    asked = set(_addresses(client.application))
    assert len(asked) > 5
    for method, address in asked:
        status = client.open(address, method=method, data=body, headers=headers).status_code
        assert status < 500, (method, address)
    assert rows(Contact) == 0


def test_doubled_key_is_named(client, key):
    headers = key | {"Content-Type": "application/json"}
    answer = client.post(
        "/api/v1/contact-requests", data=b'{"email": "a@b.test", "email": "c@d.test"}', headers=headers
    )
    assert (answer.status_code, list(answer.json["error"]["fields"])) == (422, ["email"])


def test_byte_order_mark_is_read_past(client, key):
    headers = key | {"Content-Type": "application/json"}
    body = b"\xef\xbb\xbf" + json.dumps(REQUEST).encode()
    assert client.post("/api/v1/contact-requests", data=body, headers=headers).status_code == 201
