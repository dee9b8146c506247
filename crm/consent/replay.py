"""Consent decision at a past time, replayed from the evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text

from crm.consent.rules import Facts, Reason, SuppressionScope, decide
from crm.contacts.models import Contact
from crm.core.db import db
from crm.core.errors import NotFound


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The decision and its evidence: the last row on the topic and the suppressions in force."""

    reason: Reason | None
    record_id: int | None
    stop_ids: tuple[int, ...]
    snoozed_until: datetime | None


_EVIDENCE = text("""
    select id, topic, action, address_index, until from consent_record
    where contact_id = :contact_id and topic in (:topic, '*') and at <= :at order by id
""")
# The newest address up to that time; if there is none, the first one after it.
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
    """Replay a person's evidence up to and including `at`. Raises NotFound.

    Uses the address that the evidence of that time names. A clinical stop counts from when it was set, if it is still
    set.
    """
    contact = db.session.get(Contact, contact_id)
    if contact is None:
        raise NotFound("Contact not found.")
    given = {"contact_id": contact_id, "topic": topic, "at": at}
    rows = db.session.execute(_EVIDENCE, given).all()
    index = db.session.scalar(_ADDRESS, given) or contact.email_index
    stops = db.session.execute(_STOPS, {"index": index, "at": at}).all()
    decision = _last(rows, topic, "granted", "withdrawn", "merged", "unmerged")
    scopes = {stop.scope for stop in stops}
    facts = Facts(
        now=at,
        transactional=transactional,
        erased=_was_set(contact.erased_at, at),
        merged=_is_merged(rows),
        has_address=index is not None,
        stopped=contact.stop_reason is not None and _was_set(contact.stopped_at, at),
        suppressed_all=SuppressionScope.ALL in scopes,
        suppressed_marketing=SuppressionScope.MARKETING in scopes,
        granted=_granted(decision),
        same_address=_same_address(decision, index),
        snoozed_until=_snoozed_until(rows),
    )
    return Verdict(
        reason=decide(facts),
        record_id=decision.id if decision else None,
        stop_ids=tuple(stop.id for stop in stops),
        snoozed_until=facts.snoozed_until,
    )


def _was_set(moment: datetime | None, at: datetime) -> bool:
    return moment is not None and moment <= at


def _granted(decision: Row[Any] | None) -> bool | None:
    return None if decision is None or decision.action == "unmerged" else decision.action == "granted"


def _is_merged(rows: Sequence[Row[Any]]) -> bool:
    last = _last(rows, "*", "merged", "unmerged")
    return last is not None and last.action == "merged"


def _same_address(decision: Row[Any] | None, index: bytes | None) -> bool:
    return decision is None or decision.address_index in (None, index)


def _snoozed_until(rows: Sequence[Row[Any]]) -> datetime | None:
    snooze = _last(rows, "*", "snoozed")
    return snooze.until if snooze else None


def _last(rows: Sequence[Row[Any]], topic: str, *actions: str) -> Row[Any] | None:
    return next((row for row in reversed(rows) if row.topic == topic and row.action in actions), None)
