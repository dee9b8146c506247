"""Was this person to be written to at some moment in the past, and why: answered from the evidence alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text

from crm.consent.rules import Facts, Reason, decide
from crm.contacts.models import Contact
from crm.core.db import db
from crm.core.errors import NotFound


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer, and what it stands on: the evidence row that spoke last, and the stops that held."""

    reason: Reason | None
    record_id: int | None
    stop_ids: tuple[int, ...]
    snoozed_until: datetime | None


_EVIDENCE = text("""
    select id, topic, action, address_index, until from consent_record
    where contact_id = :contact_id and topic in (:topic, '*') and at <= :at order by id
""")
# The address known by then; of somebody there was no evidence on yet, the one that came next.
_ADDRESS = text("""
    select address_index from consent_record
    where contact_id = :contact_id and address_index is not null
        and action in ('requested', 'attested', 'granted', 'snoozed')
    order by at > :at, case when at > :at then id else -id end limit 1
""")
_STOPS = text("""
    select id, scope from suppression
    where address_index = :index and at <= :at and (lifted_at is null or lifted_at > :at) order by id
""")


def verdict_at(contact_id: int, topic: str, at: datetime, *, transactional: bool = False) -> Verdict:
    """Replay a person's evidence up to and including `at`. Raises NotFound for somebody there never was.

    The address is the one that the evidence of that time names. A clinical stop counts from when it was set, if it
    still stands.
    """
    contact = db.session.get(Contact, contact_id)
    if contact is None:
        raise NotFound("There is no such person.")
    given = {"contact_id": contact_id, "topic": topic, "at": at}
    rows = db.session.execute(_EVIDENCE, given).all()
    index = db.session.scalar(_ADDRESS, given) or contact.email_index
    stops = db.session.execute(_STOPS, {"index": index, "at": at}).all()
    spoken = _last(rows, topic, "granted", "withdrawn", "merged")
    pause = _last(rows, "*", "snoozed")
    facts = Facts(
        now=at,
        transactional=transactional,
        erased=contact.erased_at is not None and contact.erased_at <= at,
        merged=_last(rows, "*", "merged") is not None,
        has_address=index is not None,
        stopped=contact.stop_reason is not None
        and contact.stopped_at is not None
        and contact.stopped_at <= at,
        suppressed_all=any(stop.scope == "all" for stop in stops),
        suppressed_marketing=any(stop.scope == "marketing" for stop in stops),
        granted=None if spoken is None else spoken.action == "granted",
        same_address=spoken is None or spoken.address_index in (None, index),
        snoozed_until=pause.until if pause else None,
    )
    return Verdict(
        reason=decide(facts),
        record_id=spoken.id if spoken else None,
        stop_ids=tuple(stop.id for stop in stops),
        snoozed_until=facts.snoozed_until,
    )


def _last(rows: Sequence[Row[Any]], topic: str, *actions: str) -> Row[Any] | None:
    return next((row for row in reversed(rows) if row.topic == topic and row.action in actions), None)
