"""The oracle: compares the sandbox's inbox with the ledger, message by message, and with the gates at each claim.

A trigger notes at every claim which gate was closed and who had said no. The hour is judged from the claim's time and
each person's zone, without the engine's own code.
"""

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
# Written by a trigger, so that it knows the gates as they were at the claim, whatever the engine asked.
_WATCH = """
    create table if not exists chaos_claim (id bigserial primary key, batch_id bigint, attempts bigint, at timestamptz,
        hours jsonb, closed text, refused bigint[]);
    create or replace function chaos_claim() returns trigger language plpgsql as $$
    begin
        insert into chaos_claim (batch_id, attempts, at, hours, closed, refused)
        select new.id, new.attempts, new.state_at,
            case when (new.send_window ->> 'any_hour_until')::timestamptz > new.state_at then null else new.send_window end,
            case when control.stopped_at is not null and not new.passes_stop then 'all sending'
                when exists (select 1 from stream_stop s where s.stream = new.stream) then 'the stream'
                when exists (select 1 from campaign k where k.id = new.campaign_id
                    and k.state in ('paused', 'cancelled')) then 'the broadcast'
                when exists (select 1 from sequence q where q.id = new.sequence_id and q.state = 'paused')
                    then 'the sequence' end,
            array(select s.contact_id from consent_state s where s.topic = new.topic and not s.granted
                and (s.contact_id = any(new.contact_ids)
                    or s.contact_id in (select m.contact_id from message m where m.batch_id = new.id)))
        from sending_control control;
        return null;
    end $$;
    create or replace trigger chaos_claim after update of state on batch for each row
        when (new.state = 'sending' and old.state <> 'sending') execute function chaos_claim();
"""
# A claim that was given back without a call does not count as an attempt: its number is used again, or is too high.
_MAY_NOT = """
    with claim as (
        select distinct on (k.batch_id, k.attempts) k.* from chaos_claim k join batch b on b.id = k.batch_id
        where k.attempts <= b.attempts order by k.batch_id, k.attempts, k.id desc
    ), local as (
        select m.id, m.contact_id, m.campaign_id, k.closed, k.refused, k.hours, k.at at time zone c.time_zone as at
        from message m join claim k on k.batch_id = m.batch_id join contact c on c.id = m.contact_id
    )
    select id from local
    where closed is not null or contact_id = any(refused)
        or (campaign_id is not null and extract(hour from at) not between 8 and 19)
        or (hours is not null and not (at::time >= (hours ->> 'start')::time and at::time < (hours ->> 'end')::time
            and hours -> 'weekdays' @> to_jsonb(extract(isodow from at)::int - 1)))
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
    may_not: list[int]  # left, though a gate was closed at the claim
    doubted: int = 0  # were unconfirmed to the end, and sent by a person's decision

    @property
    def well(self) -> bool:
        bad = (self.twice, self.lost, self.surprise, self.waiting, self.unlisted, self.untold, self.forgotten)
        return not any(bad) and not self.may_not


def watch(stack: Stack) -> None:
    """Note the gates at every claim from now on."""
    with stack.sql() as database:
        database.execute(_WATCH)


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
        refused = [message_id for (message_id,) in database.execute(_MAY_NOT)]
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
        may_not=sorted({one for one in refused if arrived[one]}),
    )
