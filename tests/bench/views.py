"""Yardsticks F and E: a view that does nothing, a view that verifies and stores, a statement that applies events."""

import base64
import os
import secrets
import threading
import time
from typing import Any

import orjson
import psycopg
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask, abort, request

from tests.bench import load
from tests.bench.servers import Bench

SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"
SHA256 = ec.ECDSA(hashes.SHA256())
# What a thousand emails of a tidy list come to while nothing is tracked in them: taken, delivered, and one in a hundred
# for which a person's address is suppressed.
KINDS = (
    *("processed",) * 490,
    *("delivered",) * 480,
    *("deferred",) * 20,
    *("bounce",) * 7,
    "dropped",
    "unsubscribe",
    "spamreport",
)

INBOX = "CREATE TABLE inbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL)"
APPLY_SCHEMA = """
CREATE TABLE message (id bigint PRIMARY KEY, state text NOT NULL DEFAULT 'accepted', state_at bigint NOT NULL DEFAULT 0);
CREATE TABLE event (sg_event_id text PRIMARY KEY, message_id bigint NOT NULL, kind text NOT NULL, happened bigint NOT NULL);
"""
APPLY = """
WITH told AS (
    SELECT * FROM jsonb_to_recordset(%s::jsonb)
    AS one(sg_event_id text, pp_msg bigint, event text, "timestamp" bigint)),
added AS (
    INSERT INTO event (sg_event_id, message_id, kind, happened)
    SELECT sg_event_id, pp_msg, event, "timestamp" FROM told ON CONFLICT DO NOTHING
    RETURNING message_id, kind, happened),
latest AS (SELECT DISTINCT ON (message_id) message_id, kind, happened FROM added ORDER BY message_id, happened DESC)
UPDATE message SET state = kind, state_at = happened FROM latest WHERE id = message_id AND state_at <= happened
"""


def empty() -> Flask:
    """F: what a request costs before anything is done."""
    app = Flask(__name__)

    @app.post("/")
    def view() -> str:
        return "ok"

    return app


def verify_and_store() -> Flask:
    """E: check the signature over the raw bytes, store them, answer."""
    app = Flask(__name__)
    key: Any = serialization.load_der_public_key(base64.b64decode(os.environ["BENCH_WEBHOOK_KEY"]))
    standing = threading.local()

    @app.post("/")
    def view() -> tuple[str, int]:
        body = request.get_data(cache=False)
        try:
            key.verify(
                base64.b64decode(request.headers[SIGNATURE]),
                request.headers[TIMESTAMP].encode() + body,
                SHA256,
            )
        except (InvalidSignature, ValueError):
            abort(403)
        if not hasattr(standing, "postgres"):
            standing.postgres = psycopg.connect(os.environ["BENCH_DATABASE"], autocommit=True)
        standing.postgres.execute("INSERT INTO inbox (body) VALUES (%b)", (body,))
        return "", 204

    return app


class Signer:
    """The provider's side of the event webhook: a key, and signed posts of believable events."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.public = base64.b64encode(self.key.public_key().public_bytes(*form)).decode()

    def post(self, path: str, events: list[dict[str, Any]]) -> bytes:
        """Return the bytes of one signed request; a line break after each event, as the provider writes them."""
        body = b"[" + b",\r\n".join(orjson.dumps(event) for event in events) + b"]\r\n"
        now = str(int(time.time()))
        signature = base64.b64encode(self.key.sign(now.encode() + body, SHA256)).decode()
        headers = {"Content-Type": "application/json", SIGNATURE: signature, TIMESTAMP: now}
        return load.request(path, body, headers=headers)


def make_events(messages: list[tuple[str, str]], *, kinds: tuple[str, ...] = KINDS) -> list[dict[str, Any]]:
    """Return one event for each (our message id, address), each with an id of its own."""
    now = int(time.time())
    return [
        {
            "email": address,
            "event": kinds[n % len(kinds)],
            "timestamp": now + n % 60,
            "sg_event_id": secrets.token_urlsafe(33),
            "sg_message_id": f"{secrets.token_urlsafe(16)}.recvd-5f6c8d7b9-xk2vq-1-{n:08X}-12.0",
            "smtp-id": f"<{secrets.token_urlsafe(16)}@geopod-ismtpd-4>",
            "pp_msg": message,
            "response": "250 2.0.0 OK  1795000000 a1si1234567qkb.12 - gsmtp",
            "ip": "192.0.2.10",
            "tls": 1,
        }
        for n, (message, address) in enumerate(messages)
    ]


def _posts(count: int, *, of: int = 1000) -> list[list[dict[str, Any]]]:
    numbers = range(1, count * of + 1)
    events = make_events([(str(number), f"person{number}@example.test") for number in numbers])
    return [events[start : start + of] for start in range(0, len(events), of)]


def measure_empty(bench: Bench, *, seconds: float) -> dict[str, Any]:
    """Yardstick F: requests/s of the empty view, served as the system is: 2 workers of 4 threads, 16 at a time."""
    body = load.request("/", b'{"first_name": "Ada"}', headers={"Content-Type": "application/json"})
    with bench.gunicorn("tests.bench.views:empty()", threads=4) as (port, _):
        bench.load(port, [body], seconds=0.5)
        return bench.load(port, [body], seconds=seconds)


def measure_store(bench: Bench, *, posts: int) -> dict[str, Any]:
    """Yardstick E, first half: events/s verified and stored, 1,000 per post, 2 workers of 2 threads, 4 posts at a time."""
    signer = Signer()
    signed = [signer.post("/", events) for events in _posts(posts)]
    with bench.postgres.database() as name:
        with bench.postgres.connect(name) as connection:
            connection.execute(INBOX)
        bench.postgres.settle(name)
        env = {"BENCH_WEBHOOK_KEY": signer.public, "BENCH_DATABASE": bench.postgres.database_url(name)}
        with bench.gunicorn("tests.bench.views:verify_and_store()", threads=2, env=env) as (port, _):
            bench.load(port, signed[:8], connections=4)
            answer = bench.load(port, signed, connections=4)
        with bench.postgres.connect(name) as connection:
            if connection.execute("SELECT count(*) FROM inbox").fetchone() != (posts + 8,):
                raise AssertionError("The bare view lost a post.")
    return answer | {"events_rate": answer["rate"] * 1000}


def measure_apply(bench: Bench, *, posts: int, connections: int = 1) -> dict[str, Any]:
    """Yardstick E, second half: events/s that one set-based statement per 1,000 applies."""
    bodies = [orjson.dumps(events).decode() for events in _posts(posts)]
    with bench.postgres.database() as name:
        with bench.postgres.connect(name) as connection:
            connection.execute(APPLY_SCHEMA)
            connection.execute("INSERT INTO message (id) SELECT generate_series(1, %s)", (posts * 1000,))
        bench.postgres.settle(name)
        threads = [
            threading.Thread(
                target=_apply, args=(bench.postgres.database_url(name), bodies[start::connections])
            )
            for start in range(connections)
        ]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = time.monotonic() - began
        with bench.postgres.connect(name) as connection:
            if connection.execute("SELECT count(*) FROM event").fetchone() != (posts * 1000,):
                raise AssertionError("The bare statement lost an event.")
    return {"rate": posts * 1000 / wall}


def _apply(url: str, bodies: list[str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for body in bodies:
            connection.execute(APPLY, (body,))
