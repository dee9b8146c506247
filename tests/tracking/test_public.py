"""The webhook: whatever SendGrid signed is stored and answered at once, and applied without an error."""

import base64
import gzip
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from crm.core import clock as clocks
from crm.core.db import db
from crm.mailer.sendgrid_events import SIGNATURE, TIMESTAMP
from crm.tracking.models import ProviderEvent, Receipt
from jobs import tracking as jobs

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(
    KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()


@pytest.fixture
def keyed(app, client, monkeypatch):
    """The app with SendGrid's key."""
    monkeypatch.setattr(app.services, "settings", replace(app.settings, sendgrid_webhook_keys=(PUBLIC,)))
    return client


def send(client, body: bytes, **headers: str) -> int:
    stamp = str(int(clocks.now().timestamp()))
    mark = base64.b64encode(KEY.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
    answer = client.post(
        "/webhooks/sendgrid", data=body, headers={SIGNATURE: mark, TIMESTAMP: stamp, **headers}
    )
    return answer.status_code


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary()
    | st.text().map(str.encode)
    | st.binary().map(gzip.compress)
    | st.sampled_from(
        [b"[]", b"[" * 5_000, b'{"a":' * 5_000, b'[{"event":"bounce","type":' + b"[" * 1_010, b"9" * 5_000]
    )
)
def test_any_signed_bytes_are_taken_and_applied(keyed, body):
    assert send(keyed, body) == 204
    receipt = db.session.scalar(select(Receipt.id).order_by(Receipt.id.desc()).limit(1))
    jobs.apply(receipt)
    db.session.expire_all()
    assert db.session.get(Receipt, receipt).applied_at is not None


def test_a_compressed_post_is_verified_as_it_came(keyed):
    body = gzip.compress(b'[{"event": "bounce", "email": "ana@patients.example", "sg_event_id": "e1"}]')
    assert send(keyed, body, **{"Content-Encoding": "gzip"}) == 204
    jobs.apply(db.session.scalar(select(Receipt.id)))
    assert db.session.scalar(select(ProviderEvent.kind)) == "bounced"


def test_unsigned_bytes_are_not_stored(keyed):
    answer = keyed.post("/webhooks/sendgrid", data=b"[]", headers={SIGNATURE: "AAAA", TIMESTAMP: "1"})
    assert answer.status_code == 401
    assert db.session.query(Receipt).count() == 0
