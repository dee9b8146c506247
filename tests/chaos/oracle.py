"""The one judge: the stand-in's inbox against the ledger, message by message."""

import json
from collections import Counter
from dataclasses import dataclass

import requests

from tests.fleet import Fleet

# What the ledger says of every message: its own state, else its batch's.
LEDGER = """
    select m.id, coalesce(m.state, b.state), b.state, b.error, b.settled_by
    from message m join batch b on b.id = m.batch_id
"""
SENT = {
    "accepted",
    "processed",
    "deferred",
    "delivered",
    "blocked",
    "dropped",
    "bounced",
    "unsubscribed",
    "complained",
}
NOT_SENT = {"skipped", "failed", "blocked_policy", "cancelled"}


@dataclass(frozen=True)
class Verdict:
    """What became of everything. All is well when nothing is lost, twice, or a surprise, and nothing still waits."""

    sent: int
    twice: list[int]
    lost: list[int]
    surprise: list[int]
    waiting: list[int]
    uncertain: list[int]
    unlisted: list[int]

    @property
    def well(self) -> bool:
        return not (self.twice or self.lost or self.surprise or self.waiting or self.unlisted)


def judge(fleet: Fleet) -> Verdict:
    """Compare the inbox with the ledger."""
    lines = requests.get(f"{fleet.sandbox_url}/sandbox/recipients", timeout=60).text.splitlines()
    arrived = Counter(int(json.loads(line)[0]) for line in lines)
    with fleet.sql() as database:
        ledger = database.execute(LEDGER).fetchall()
    known = {message_id for message_id, *_ in ledger}
    by_state: dict[str, list[int]] = {}
    for message_id, state, *_ in ledger:
        by_state.setdefault(state, []).append(message_id)
    sent = [one for state in SENT for one in by_state.get(state, [])]
    not_sent = [one for state in NOT_SENT for one in by_state.get(state, [])]
    return Verdict(
        sent=len(sent),
        twice=[one for one, count in arrived.items() if count > 1],
        lost=[one for one in sent if arrived[one] == 0],
        surprise=[one for one in not_sent if arrived[one]] + [one for one in arrived if one not in known],
        waiting=[one for state in ("ready", "held", "sending") for one in by_state.get(state, [])],
        uncertain=by_state.get("uncertain", []),
        unlisted=[
            one for one, _, batch, error, settled in ledger if batch == "uncertain" and not (error or settled)
        ],
    )
