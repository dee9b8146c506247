"""Timeline sources: the tables that a person's timeline is read from, besides activities. Only the wiring sees all of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, String, case, cast, func, literal, null, select
from sqlalchemy.dialects.postgresql import JSONB

from crm.consent.models import ConsentRecord
from crm.contacts import queries as people
from crm.content.models import ContentVersion
from crm.core.db import Encrypted
from crm.core.services import TimelineSource
from crm.messages.models import Batch, Message
from crm.sequences.models import EmailSequence as Series
from crm.sequences.models import Enrolment

_NO_TEXT = cast(null(), Encrypted)
_SYSTEM = literal("system", String)


def _detail(**values: Any) -> Any:
    pairs = [part for name, value in values.items() for part in (literal(name, String), value)]
    return func.jsonb_strip_nulls(func.jsonb_build_object(*pairs, type_=JSONB), type_=JSONB)


def _consent(records: Sequence[int]) -> Select[Any]:
    record = ConsentRecord
    detail = _detail(topic=record.topic, via=record.source, wording=record.wording)
    return select(record.at, record.id, record.action, record.actor, _NO_TEXT, detail).where(
        record.contact_id.in_(records)
    )


def _mail(records: Sequence[int]) -> Select[Any]:
    left = case((Batch.state.in_(("ready", "held")), Message.created_at), else_=Batch.state_at)
    at = case((Message.state == "skipped", func.coalesce(Message.state_at, Batch.state_at)), else_=left)
    detail = _detail(
        subject=ContentVersion.subject,
        reason=func.coalesce(Message.reason, case((Message.state.is_(None), Batch.error))),
        language=ContentVersion.language,
        batch_id=Batch.id,
    )
    return (
        select(at, Message.id, func.coalesce(Message.state, Batch.state), _SYSTEM, _NO_TEXT, detail)
        .join(Batch, Batch.id == Message.batch_id)
        .join(ContentVersion, ContentVersion.id == Message.content_version_id)
        .where(Message.contact_id.in_(records))
    )


def _entered(records: Sequence[int]) -> Select[Any]:
    kind = literal("entered", String)
    return (
        select(Enrolment.entered_at, Enrolment.id, kind, _SYSTEM, _NO_TEXT, _detail(sequence=Series.title))
        .join(Series, Series.id == Enrolment.sequence_id)
        .where(Enrolment.contact_id.in_(records))
    )


def _left(records: Sequence[int]) -> Select[Any]:
    detail = _detail(sequence=Series.title, reason=Enrolment.reason)
    return (
        select(Enrolment.left_at, Enrolment.id, Enrolment.state, _SYSTEM, _NO_TEXT, detail)
        .join(Series, Series.id == Enrolment.sequence_id)
        .where(Enrolment.contact_id.in_(records), Enrolment.left_at.is_not(None))
    )


SOURCES: Mapping[str, TimelineSource] = {
    "activity": people.activity_source,
    "consent": _consent,
    "mail": _mail,
    "entered": _entered,
    "left": _left,
}
