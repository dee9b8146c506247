"""Yardstick L: the limit. A bare script: no framework, no ORM, no rules.

It claims a batch of 1,000, writes one row per recipient once (primary key and one unique index), posts the batch in one
call over a kept connection and moves only the batch row. Nobody who keeps a durable row per recipient does much less.
"""

import argparse
import gc
import hmac
import http.client
import json
import ssl
import sys
import time
from typing import Any

import orjson
import psycopg

from tests.bench.servers import Bench

SCHEMA = """
CREATE TABLE contact (id bigint PRIMARY KEY, email text NOT NULL, first_name text NOT NULL, city text NOT NULL);
CREATE TABLE batch (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, campaign_id bigint NOT NULL,
    low bigint NOT NULL, high bigint NOT NULL, state text NOT NULL DEFAULT 'ready');
CREATE INDEX ON batch (id) WHERE state = 'ready';
CREATE TABLE message (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, batch_id bigint NOT NULL,
    campaign_id bigint NOT NULL, contact_id bigint NOT NULL, UNIQUE (campaign_id, contact_id));
"""
CONTACTS = """
INSERT INTO contact SELECT n, 'person' || n || '@example.test', 'Name' || mod(n, 500), 'City' || mod(n, 100)
FROM generate_series(1, %s::bigint) n
"""
LAUNCH = """
INSERT INTO batch (campaign_id, low, high)
SELECT 1, low, least(low + 999, %(last)s::bigint) FROM generate_series(1, %(last)s::bigint, 1000) low
"""
CLAIM = """
UPDATE batch SET state = 'sending' WHERE id = (
    SELECT id FROM batch WHERE state = 'ready' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, campaign_id, low, high
"""
WRITE = """
WITH person AS MATERIALIZED (SELECT id, email, first_name, city FROM contact WHERE id BETWEEN %s AND %s),
written AS (INSERT INTO message (batch_id, campaign_id, contact_id) SELECT %s, %s, id FROM person ORDER BY id
    RETURNING id, contact_id)
SELECT written.id, email, first_name, city FROM written JOIN person ON person.id = contact_id
"""
DONE = "UPDATE batch SET state = 'accepted' WHERE id = %s"

SECRET = b"bench" * 7
HTML = (
    "<p>Hello -name- from -city-, number -id-.</p>"
    + "<p>Plain words about a kind clinic.</p>" * 51
    + "-link-"
)


def payload(rows: list[tuple[int, str, str, str]]) -> bytes:
    """One call: 4 substitutions, 2 headers, one custom argument and a signed link per recipient."""
    personalizations = []
    for message_id, email, name, city in rows:
        number = str(message_id)
        token = hmac.digest(SECRET, number.encode(), "sha256").hex()
        link = f"https://clinic.example/u/{number}.{token}"
        personalizations.append(
            {
                "to": [{"email": email}],
                "substitutions": {"-name-": name, "-city-": city, "-id-": number, "-link-": link},
                "headers": {
                    "List-Unsubscribe": f"<{link}>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
                "custom_args": {"pp_msg": number},
            }
        )
    return orjson.dumps(
        {
            "from": {"email": "news@clinic.example"},
            "subject": "News for -name-",
            "content": [
                {"type": "text/plain", "value": "Hello -name-. -link-"},
                {"type": "text/html", "value": HTML},
            ],
            "personalizations": personalizations,
        }
    )


def send_all(database_url: str, connection: http.client.HTTPConnection) -> int:
    """Claim and send until nothing is ready; return the number of recipients."""
    headers = {"Authorization": "Bearer bench", "Content-Type": "application/json"}
    sent = 0
    with psycopg.connect(database_url, autocommit=True) as postgres:
        print("ready", flush=True)
        sys.stdin.readline()
        while True:
            with postgres.transaction():
                claimed = postgres.execute(CLAIM).fetchone()
                if claimed is None:
                    return sent
                batch_id, campaign_id, low, high = claimed
                rows = postgres.execute(WRITE, (low, high, batch_id, campaign_id)).fetchall()
            connection.request("POST", "/v3/mail/send", body=payload(rows), headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 202:
                raise RuntimeError(f"The sink answered {answer.status}")
            postgres.execute(DONE, (batch_id,))
            sent += len(rows)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("database_url")
    options.add_argument("port", type=int)
    options.add_argument("--ca")
    given = options.parse_args()
    gc.disable()
    if given.ca:
        context = ssl.create_default_context(cafile=given.ca)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "localhost", given.port, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", given.port)
    connection.connect()
    sent = send_all(given.database_url, connection)
    print(json.dumps({"sent": sent, "finished": time.monotonic()}), flush=True)
    sys.stdin.readline()  # stay, so that CPU can be read off a living process


def measure(
    bench: Bench, *, recipients: int, workers: int, tls: bool = False, latency: float = 0.0
) -> dict[str, Any]:
    """Send to `recipients`; return emails/s and CPU per email, from launch to the last batch marked."""
    with bench.postgres.database() as name:
        with bench.postgres.connect(name) as connection:
            connection.execute(SCHEMA)
            connection.execute(CONTACTS, (recipients,))
        bench.postgres.settle(name)
        bench.sink.reset(latency=latency)
        port = bench.sink.tls_port if tls else bench.sink.plain_port
        command: tuple[str, ...] = ("-m", "tests.bench.limit", bench.postgres.database_url(name), str(port))
        command += ("--ca", str(bench.sink.ca)) if tls else ()
        with bench.running(*[command] * workers) as processes:
            for process in processes:
                process.stdout.readline()
            with (
                bench.postgres.connect(name) as connection,
                bench.meter(app=[p.pid for p in processes]) as meter,
            ):
                began = time.monotonic()
                connection.execute(LAUNCH, {"last": recipients})
                for process in processes:
                    process.stdin.write("go\n")
                    process.stdin.flush()
                finished = max(json.loads(process.stdout.readline())["finished"] for process in processes)
        bench.sink.expect(recipients)
    return {
        "rate": recipients / (finished - began),
        "cpu_us": meter.total / recipients * 1e6,
        "postgres_us": meter.spent["postgres"] / recipients * 1e6,
        "foreign_cpu": meter.foreign,
    }


if __name__ == "__main__":
    main()
