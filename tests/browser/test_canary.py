"""Marked personal data through the whole stack: none of it in Redis, logs, addresses, or what the provider keeps."""

import json
import re

import pytest
import requests
from redis import Redis

from crm.consent import consent_texts
from tests.support.stack import Stack, wait_until

pytestmark = [pytest.mark.xdist_group("browser")]

SECRETS = {
    "last name": "Zzyzxlastname",
    "phone": "3105550177",
    "birth date": "1971-04-09",
    "reason": "canaryreason CRPS left hand",
    "diagnosis": "G90.511",
    "member id": "CANARY-MEMBER-99",
    "message": "canarymessage about my back",
}
EMAIL = "canary.person@patients.example"
FIRST = "Qwertyfirst"


def send_in(site: Stack) -> None:
    key = site.flask(
        "api-key", "create", "canary", "--scope", "referrals:write", "--scope", "contact-requests:write"
    ).split()[-1]
    head = {"Authorization": f"Bearer {key}"}
    person = {
        "first_name": FIRST,
        "last_name": SECRETS["last name"],
        "email": EMAIL,
        "phone": SECRETS["phone"],
    }
    answer = requests.post(
        f"{site.web_url}/api/v1/contact-requests",
        headers=head,
        json={
            **person,
            "state": "CA",
            "message": SECRETS["message"],
            "educational_email": True,
            "wording": consent_texts.current("contact-form", "en").name,
        },
        timeout=10,
    )
    assert answer.status_code == 201, answer.text
    answer = requests.post(
        f"{site.web_url}/api/v1/referrals",
        headers=head,
        json={
            "referrer": {
                "name": "Dr. Nora Field",
                "npi": "1234567893",
                "practice": "Family Medicine",
                "phone": "3105550144",
            },
            "patient": {**person, "birth_date": SECRETS["birth date"]},
            "reason": {"text": SECRETS["reason"], "diagnoses": [SECRETS["diagnosis"]]},
            "payer": {"name": "Canary Health", "member_id": SECRETS["member id"]},
            "patient_informed": True,
        },
        timeout=10,
    )
    assert answer.status_code == 201, answer.text


def redis_text(site: Stack) -> str:
    """Every key and value there is in Redis, as text."""
    with Redis.from_url(site.redis_url) as redis:
        return " ".join(f"{key!r} {redis.dump(key)!r}" for key in redis.scan_iter())


def test_nothing_personal_leaks(site: Stack):
    send_in(site)
    wait_until(lambda: len(site.inbox(EMAIL)) == 1, seconds=20, what="the question by email")
    path = re.search(r"/c/[\w=-]+", site.inbox(EMAIL)[0]["text"])[0]
    assert requests.post(site.web_url + path, timeout=10).status_code == 200
    site.next_email(EMAIL)
    link = re.search(r"<(.+)>", site.inbox(EMAIL)[-1]["headers"]["List-Unsubscribe"])[1]
    requests.post(link, data={"List-Unsubscribe": "One-Click"}, timeout=10)

    everywhere = {"redis": redis_text(site), "logs": site.logs()}
    for place, text in everywhere.items():
        for what, secret in {**SECRETS, "address": EMAIL, "first name": FIRST}.items():
            assert secret.lower() not in text.lower(), f"{what} in {place}"
        assert not re.search(r"/[cup]/[\w=-]{20,}", text), f"a token in {place}"
        assert "SG." not in text, f"a key in {place}"
    for mail in site.inbox(EMAIL):
        raw = requests.get(f"{site.sandbox_url}/sandbox/requests/{mail['x_message_id']}", timeout=10).text
        for what, secret in SECRETS.items():
            assert secret.lower() not in raw.lower(), f"{what} at the provider"
        body = json.loads(raw)
        assert not set(body) & {"categories", "asm", "custom_args", "ip_pool_name", "mail_settings"}
        for one in body["personalizations"]:
            assert set(one) <= {"to", "substitutions", "custom_args", "headers"}
            assert list(one["custom_args"]) == ["pp_msg"]
        assert not re.search(r"ketamin|\bpain\b|dolor|crps", body["subject"], re.IGNORECASE)
