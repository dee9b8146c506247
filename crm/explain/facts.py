"""The evidence behind one email or its absence: each fact with its time, read from the row that holds it.

Every function reads a bounded number of rows by an index; no fact names a health detail.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from crm.audit import queries as audit
from crm.consent import consent_texts, replay
from crm.consent import queries as consent
from crm.contacts.models import Contact
from crm.content.models import Approval, ContentVersion
from crm.core.db import db
from crm.messages import reason_labels as words
from crm.messages.models import Batch, Message
from crm.messages.rules import STREAMS
from crm.tracking.models import ProviderEvent

MOST = 50  # facts of one kind


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that happened or was decided. `ids` name the rows it stands in."""

    at: datetime
    part: str  # consent, stop, decision, content, batch, attempt, event, sequence, broadcast
    text: str
    why: str | None = None
    quote: str | None = None  # the exact text that the person was shown
    ids: dict[str, Any] = field(default_factory=dict)


def of_consent(contact_id: int, topic: str | None) -> Iterator[Fact]:
    """Yield the consent evidence of a person on a topic, with the wording they saw."""
    for row in consent.consent_records(contact_id, limit=MOST):
        if row.topic not in (topic, "*"):
            continue
        until = f"until {row.until:%Y-%m-%d}" if row.until else None
        by = f"through {words.SOURCES.get(row.source, row.source.replace('_', ' '))}"
        yield Fact(
            at=row.at,
            part="consent",
            text=words.CONSENT.get(row.action, row.action),
            why=", ".join(filter(None, (by, until))),
            quote=_wording(row.wording, row.language),
            ids={"consent_record": row.id, "wording": row.wording},
        )


def _wording(name: str | None, language: str) -> str | None:
    try:
        return consent_texts.find(name, language).text if name else None
    except KeyError:  # evidence brought along from another system
        return None


def of_stops(contact: Contact) -> Iterator[Fact]:
    """Yield suppressions of the person's address, lifted ones too, and whether a clinical stop is set (not why)."""
    for row in consent.suppressions_of(contact.id)[:MOST]:
        why, ids = words.reason(row.reason), {"suppression": row.id, "message": row.message_id}
        yield Fact(at=row.at, part="stop", text=words.STOPS[row.scope], why=why, ids=ids)
        if row.lifted_at is not None:
            yield Fact(at=row.lifted_at, part="stop", text="Suppression lifted", ids={"suppression": row.id})
    if contact.stopped_at is not None:
        yield Fact(at=contact.stopped_at, part="stop", text="All contact stopped (clinical)")
    if contact.erased_at is not None:
        yield Fact(at=contact.erased_at, part="stop", text="Record erased on request")


def decision(contact_id: int, *, stream: str, at: datetime, when: str) -> Fact:
    """Return what the rules decided at a time, replayed from the evidence."""
    kind = STREAMS[stream]
    verdict = replay.verdict_at(contact_id, kind.topic or "", at, transactional=kind.transactional)
    ids = {"consent_record": verdict.record_id, "suppressions": list(verdict.stop_ids)}
    if verdict.reason is None:
        basis = "no consent is needed: the person asked for it" if kind.transactional else "consent was valid"
        return Fact(at=at, part="decision", text=f"{when}: allowed", why=basis, ids=ids)
    why = words.reason(str(verdict.reason))
    return Fact(at=at, part="decision", text=f"{when}: not allowed", why=why, ids=ids)


def of_content(version_id: int) -> Iterator[Fact]:
    """Yield the content version and its approvals."""
    version = db.session.get_one(ContentVersion, version_id)
    yield Fact(
        at=version.created_at,
        part="content",
        text=f"Written: “{version.name}”, version {version.number} ({version.language})",
        ids={"content_version": version.id, "hash": version.hash.hex()[:16]},
    )
    rows = select(Approval).where(Approval.version_id == version_id).order_by(Approval.id).limit(MOST)
    for row in db.session.scalars(rows):
        same = "" if row.hash == version.hash else ", of an earlier version"
        yield Fact(
            at=row.at,
            part="content",
            text=f"Approved ({row.role}){same}",
            why=f"good until {row.expires_at:%Y-%m-%d}",
            ids={"approval": row.id, "reviewer": row.reviewer},
        )


def of_batch(batch: Batch) -> Iterator[Fact]:
    """Yield the history of its batch: queued, each attempt, and the outcome."""
    ids = {"batch": batch.id}
    queued = f"Queued in a batch of {batch.size:,}"
    yield Fact(at=batch.created_at, part="batch", text=queued, ids=ids)
    acts = audit.entries(object_type="batch", object_id=batch.id, action="batch.", limit=MOST).rows
    for row in acts:
        detail = row.detail or {}
        if row.action == "batch.sending":
            attempt = f"Attempt {detail.get('attempt')}: handed to {_carrier(batch.transport)}"
            yield Fact(at=row.at, part="attempt", text=attempt, ids=ids | {"audit": row.id})
        elif row.action == "batch.decided":
            said = "Staff decided: send again" if detail.get("send_again") else "Staff decided: treat as sent"
            yield Fact(at=row.at, part="attempt", text=said, ids=ids | {"audit": row.id, "actor": row.actor})
    text = words.STATES.get(batch.state, ("", batch.state))[1]
    by = {"events": "settled by the provider's events"}.get(batch.settled_by or "")
    why = words.reason(batch.error) if batch.state not in ("accepted", "sending") else by
    yield Fact(
        at=batch.state_at, part="batch", text=text, why=why, ids=ids | {"provider_id": batch.provider_id}
    )


def _carrier(transport: str) -> str:
    return {"sendgrid": "SendGrid", "smtp": "the mail relay"}.get(transport, transport)


def of_message(message: Message) -> Iterator[Fact]:
    """Yield what differs from its batch, and the provider's events."""
    if message.state == "skipped" and message.state_at is not None:
        yield Fact(
            at=message.state_at,
            part="decision",
            text="Right before sending: excluded",
            why=words.reason(message.reason),
            ids={"message": message.id},
        )
    rows = select(ProviderEvent).where(ProviderEvent.message_id == message.id)
    for row in db.session.scalars(rows.order_by(ProviderEvent.at).limit(MOST)):
        text = words.EVENTS.get(row.kind, row.kind)
        yield Fact(at=row.at, part="event", text=text, why=row.detail, ids={"event": row.event_id})


def in_order(facts: Sequence[Fact]) -> list[Fact]:
    """Sort by the second, the precision of the provider's clock; keep the order within one second."""
    return sorted(facts, key=lambda fact: fact.at.replace(microsecond=0))
