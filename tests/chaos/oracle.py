"""The oracle: compares the sandbox's inbox with the ledger, message by message."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass

import requests

from tests.support.stack import Stack

# What the ledger says of every message: its own state, else its batch's.
LEDGER = """
    select m.id, coalesce(m.state, b.state), b.state, b.error, b.settled_by
    from message m join batch b on b.id = m.batch_id
"""
# A person who was to get an email and has no message: a first step, a broadcast.
FORGOTTEN = """
    select e.contact_id from enrolment e where not exists (select 1 from message m where m.enrolment_id = e.id)
    union all select t.contact_id from contact_tag t where t.tag like 'lot-%' and not exists (
        select 1 from message m where m.contact_id = t.contact_id and m.campaign_id is not null)
        and not exists (select 1 from batch b where b.state in ('failed', 'cancelled') and t.contact_id = any(b.contact_ids))
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


@dataclass
class Verdict:
    """What became of everything. All is well when nothing is lost, twice, or a surprise, and nothing still waits."""

    sent: int
    not_sent: dict[str, int]
    twice: list[int]
    lost: list[int]
    surprise: list[int]  # arrived, though the ledger says that it did not leave or does not know it
    waiting: list[int]
    uncertain: list[int]
    unlisted: list[int]  # unconfirmed without a reason
    untold: list[int]  # unconfirmed, though the provider accepted it and sent the event
    forgotten: list[int]  # people
    doubted: int = 0  # were unconfirmed to the end, and sent by a person's decision

    @property
    def well(self) -> bool:
        bad = (self.twice, self.lost, self.surprise, self.waiting, self.unlisted, self.untold, self.forgotten)
        return not any(bad)


def arrivals(stack: Stack) -> Counter[int]:
    """Return how often the sandbox accepted each message."""
    lines = requests.get(f"{stack.sandbox_url}/sandbox/recipients", timeout=60).text.splitlines()
    return Counter(int(json.loads(line)[0]) for line in lines)


def judge(stack: Stack) -> Verdict:
    """Compare the inbox with the ledger."""
    arrived = arrivals(stack)
    with stack.sql() as database:
        ledger = database.execute(LEDGER).fetchall()
        forgotten = [contact_id for (contact_id,) in database.execute(FORGOTTEN)]
    known = {message_id for message_id, *_ in ledger}
    by_state: defaultdict[str, list[int]] = defaultdict(list)
    for message_id, state, *_ in ledger:
        by_state[state].append(message_id)
    sent = [one for state in SENT for one in by_state[state]]
    not_sent = [one for state in NOT_SENT for one in by_state[state]]
    return Verdict(
        sent=len(sent),
        not_sent={state: len(by_state[state]) for state in sorted(NOT_SENT) if by_state[state]},
        twice=[one for one, count in arrived.items() if count > 1],
        lost=[one for one in sent if arrived[one] == 0],
        surprise=[one for one in not_sent if arrived[one]] + [one for one in arrived if one not in known],
        waiting=[one for state in ("ready", "held", "sending") for one in by_state[state]],
        uncertain=by_state["uncertain"],
        unlisted=[
            one for one, _, batch, error, settled in ledger if batch == "uncertain" and not (error or settled)
        ],
        untold=[one for one in by_state["uncertain"] if arrived[one]],
        forgotten=forgotten,
    )
