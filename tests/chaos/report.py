"""Events: doubled, shuffled, a day late, forged, a thousand posts at once."""

import json
import sqlite3
import time
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import requests

from crm.sandbox.events.signing_key import SIGNATURE_HEADER, signature_headers, signing_key
from tests.chaos.oracle import arrivals
from tests.chaos.results import Done
from tests.chaos.scenario import broadcast, finish, people, settle
from tests.support.stack import Stack, wait_until

_POSTS = 1_000


def events_storm(stack: Stack, *, seed: int, kills: int) -> Done:
    """Events doubled and shuffled, forged posts among them, then 1,000 posts at once."""
    mood = {"events": {"shuffle": True, "duplicate": True}}
    requests.put(f"{stack.sandbox_url}/sandbox/faults", json=mood, timeout=5)
    forged = 0
    for _ in range(10):
        people(stack, 50)
        broadcast(stack, 50)
        stack.ring()
        forged += _forge(stack)
        time.sleep(0.3)
    settle(stack, keep_faults=True)
    posted = _all_at_once(stack, sorted(arrivals(stack)))
    verdict = finish(stack)
    _every_event_is_kept(stack, more=posted)
    return f"events doubled and shuffled, {forged} forged posts, {_POSTS:,} posts at once", verdict


def events_late(stack: Stack, *, seed: int, kills: int) -> Done:
    """No event for a day, while every third answer of the provider gets lost: late events settle what is unconfirmed."""
    lost = {"kind": "drop_after", "probability": 0.34, "seed": seed}
    mood = {"events": {"hold": True}, "faults": [lost]}
    requests.put(f"{stack.sandbox_url}/sandbox/faults", json=mood, timeout=5)
    for _ in range(10):
        people(stack, 30)
        stack.ring()
        time.sleep(0.4)
    wait_until(lambda: arrivals(stack).total() == stack.people, seconds=60, what="everything to arrive")
    stack.skip(1)
    with stack.sql() as database:
        (doubtful,) = database.execute("select count(*) from batch where state = 'uncertain'").fetchone() or (
            0,
        )
    assert doubtful, "no answer was lost"
    verdict = finish(stack)
    assert verdict.doubted == 0, verdict
    _every_event_is_kept(stack)
    return f"events a day late settled {doubtful} batches in doubt", verdict


def _forge(stack: Stack) -> int:
    """Send posts that are not SendGrid's: unsigned, signed with another key, altered, an old one again."""
    key, now = signing_key(stack.folder / "sandbox" / "signing.pem"), time.time()
    body = json.dumps(
        [{"event": "bounce", "email": "even2@chaos.example", "sg_event_id": "forged", "pp_msg": "1"}]
    ).encode()
    genuine = signature_headers(key, body, at=now)
    posts = [
        (body, {}),
        (body, signature_headers(signing_key(stack.folder / "forger.pem"), body, at=now)),
        (body.replace(b"even2", b"even4"), genuine),
        (body, {**genuine, SIGNATURE_HEADER: genuine[SIGNATURE_HEADER][:-8] + "AAAAAAA="}),
        (body, signature_headers(key, body, at=now - 7 * 86_400)),
    ]
    for data, headers in posts:
        answer = requests.post(f"{stack.web_url}/webhooks/sendgrid", data=data, headers=headers, timeout=15)
        assert answer.status_code == 401, answer.status_code
    return len(posts)


def _all_at_once(stack: Stack, messages: list[int]) -> set[str]:
    """Post 1,000 bodies of one event each, from 100 connections; return the ids of the events."""
    key, at = signing_key(stack.folder / "sandbox" / "signing.pem"), stack.now().timestamp()

    def post(number: int) -> str:
        told = {
            "event": "delivered",
            "email": "somebody@chaos.example",
            "timestamp": int(at),
            "sg_event_id": f"storm-{number}",
            "sg_message_id": f"storm.{number}",
            "pp_msg": str(messages[number % len(messages)]),
        }
        body = json.dumps([told]).encode()
        headers = signature_headers(key, body, at=at)
        answer = requests.post(f"{stack.web_url}/webhooks/sendgrid", data=body, headers=headers, timeout=60)
        assert answer.status_code == 204, answer.status_code
        return str(told["sg_event_id"])

    with ThreadPoolExecutor(100) as pool:
        return set(pool.map(post, range(_POSTS)))


def _every_event_is_kept(stack: Stack, *, more: Set[str] = frozenset()) -> None:
    """Check that the sandbox's events and our own posts are in the ledger once each, and nothing else."""
    with closing(sqlite3.connect(_store(stack.folder / "sandbox"))) as store:
        chunks = store.execute("select body from chunks").fetchall()
    told = {one["sg_event_id"] for (body,) in chunks for one in json.loads(b"[" + body + b"]")} | more
    with stack.sql() as database:
        kept = [event_id for (event_id,) in database.execute("select event_id from provider_event")]
    assert len(kept) == len(set(kept))
    assert set(kept) == told, f"{len(told - set(kept))} missing, {len(set(kept) - told)} from nowhere"


def _store(folder: Path) -> Path:
    return next(path for path in (folder / "store", *(folder / "store").glob("*")) if path.is_file())
