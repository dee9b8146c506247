"""Consent queries: the decision as SQL, and what staff pages show."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Text, or_, select, text

from crm.consent import rules
from crm.consent.models import Confirmation, ConsentRecord, ConsentState, Suppression
from crm.consent.rules import ConfirmationStatus, Reason
from crm.contacts.models import Contact
from crm.core.db import UtcDateTime, db, execute_raw


@dataclass(frozen=True, kw_only=True)
class RefusalSql:
    """`rules.decide` as SQL, for whole sets of people.

    `joins` goes after a FROM that has the contact; `reason` is then the refusal as text, or NULL if email may be sent;
    `evidence` is the id of the record that grants it. Each joins part is lateral, with a limit or an aggregate inside:
    it finds at most one row and the planner cannot read a whole table for it, so a contact costs two index lookups.
    """

    joins: str
    reason: str
    evidence: str


def refusal_sql(
    *,
    contact: str = "c",
    topic: str = "cast(:topic as text)",
    transactional: str = "cast(:transactional as boolean)",
    now: str = "cast(:now as timestamptz)",
) -> RefusalSql:
    """Return the consent decision as SQL fragments; the arguments are the SQL expressions it reads."""
    joins = f"""
    left join lateral (
        select s.granted, s.record_id, s.address_index, s.at from consent_state s
        where s.contact_id = {contact}.id and s.topic = {topic} limit 1
    ) cs on true
    left join lateral (
        select bool_or(s.scope = 'all') as everything, bool_or(s.scope = 'marketing') as marketing
        from suppression s where s.address_index = {contact}.email_index and s.lifted_at is null
    ) stops on true
"""
    reason = f"""(case
    when {contact}.erased_at is not null then 'erased'
    when {contact}.merged_into_id is not null then 'merged'
    when {contact}.email is null or {contact}.email_index is null then 'no_address'
    when {contact}.stop_reason is not null then 'stopped'
    when stops.everything then 'suppressed'
    when {transactional} then null
    when stops.marketing then 'opted_out'
    when cs.granted is null then 'no_consent'
    when not cs.granted then 'withdrawn'
    when cs.address_index <> {contact}.email_index then 'other_address'
    when {contact}.snooze_until > {now} then 'snoozed'
end)"""
    return RefusalSql(joins=joins, reason=reason, evidence="(case when cs.granted then cs.record_id end)")


_BY_PARAMETERS = refusal_sql()
REFUSAL_JOINS, REFUSAL_CASE, EVIDENCE = _BY_PARAMETERS.joins, _BY_PARAMETERS.reason, _BY_PARAMETERS.evidence

# The same facts as REFUSAL_JOINS finds, for all contacts at once: for a whole audience, reading the tables once is twice
# as fast as looking each person up.
REFUSAL_JOINS_AT_ONCE = """
    left join consent_state cs on cs.contact_id = c.id and cs.topic = cast(:topic as text)
    left join (
        select s.address_index, bool_or(s.scope = 'all') as everything, bool_or(s.scope = 'marketing') as marketing
        from suppression s where s.lifted_at is null group by s.address_index
    ) stops on stops.address_index = c.email_index
"""
_REFUSAL = text(f"select {REFUSAL_CASE} from contact c {REFUSAL_JOINS} where c.id = :contact_id")


def refusal(*, contact_id: int, topic: str | None, transactional: bool, now: datetime) -> Reason | None:
    """Return why no email may be sent to this person now, or None if it may. Unknown people: ERASED."""
    given = {"contact_id": contact_id, "topic": topic, "transactional": transactional, "now": now}
    found = db.session.execute(_REFUSAL, given).first()
    if found is None:
        return Reason.ERASED
    return Reason(found[0]) if found[0] else None


_BY_TOPIC = refusal_sql(topic="t.topic", transactional="false", now=":now")
_REFUSALS = f"""
    select t.topic, {_BY_TOPIC.reason} as refusal, pg_advisory_xact_lock(:lock_key::bigint)
    from contact c cross join unnest(:topics::text[]) as t(topic) {_BY_TOPIC.joins}
    where c.id = :contact_id
"""


def refusals(
    *, contact_id: int, topics: Sequence[str], now: datetime, lock_address: bytes | None = None
) -> dict[str, Reason | None]:
    """Return topic -> refusal of marketing email, for several topics in one statement.

    `lock_address` is the index of an address to lock until this transaction ends.
    """
    lock_key = int.from_bytes(lock_address[:8], signed=True) if lock_address else None
    given = {"contact_id": contact_id, "topics": list(topics), "now": now, "lock_key": lock_key}
    found = {row.topic: row.refusal for row in execute_raw(_REFUSALS, given)}
    reasons = {topic: found.get(topic, Reason.ERASED) for topic in topics}
    return {topic: Reason(reason) if reason else None for topic, reason in reasons.items()}


_LINEAGE = text("""
    with recursive chain as (
        select id, merged_into_id, 1 as step from contact where id = :contact_id
        union all
        select c.id, c.merged_into_id, step + 1 from contact c join chain on c.id = chain.merged_into_id
        where step < 20
    )
    select id from chain order by step
""")


def merge_chain(contact_id: int) -> list[int]:
    """Return the person's record and those it was merged into, the surviving one last; empty if unknown."""
    return list(db.session.scalars(_LINEAGE, {"contact_id": contact_id}))


_ADDRESSES = text("""
    select email_index from contact where id = any(:people) and email_index is not null
    union
    select r.address_index from consent_record r join contact c on c.id = r.contact_id
    where c.id = any(:people) and c.email_index is null and r.address_index is not null
""")


def address_indexes(people: Sequence[int]) -> list[bytes]:
    """Return the address indexes of these people; for erased people, those in their evidence."""
    return [bytes(index) for index in db.session.scalars(_ADDRESSES, {"people": list(people)})]


_LATEST_NO = text("""
    select max(at) from (
        select at from consent_record
        where contact_id = any(:people) and action = 'withdrawn' and source = any(:sources) and at >= :since
        union all
        select at from suppression
        where address_index = any(:addresses) and scope = 'marketing' and source = any(:sources)
            and lifted_at is null and at >= :since
    ) acts
""")


def latest_withdrawal(
    people: Sequence[int], addresses: Sequence[bytes], *, sources: Collection[str], since: datetime
) -> datetime | None:
    """Return the time of these people's newest withdrawal by one of `sources`, at or after `since`."""
    given = {"people": list(people), "addresses": list(addresses), "sources": sorted(sources), "since": since}
    found: datetime | None = db.session.scalar(_LATEST_NO, given)
    return found


def confirmation_status(
    confirmation: Confirmation, *, now: datetime
) -> tuple[ConfirmationStatus, Contact | None]:
    """Return the status of a confirmation and the surviving record of its person."""
    people = merge_chain(confirmation.contact_id)
    contact = db.session.get(Contact, people[-1]) if people else None
    return rules.confirmation_status(
        now=now,
        expires_at=confirmation.expires_at,
        confirmed_at=confirmation.confirmed_at,
        address_index=confirmation.address_index,
        address_index_now=contact.email_index if contact else None,
    ), contact


def consent_records(contact_id: int, *, limit: int = 200) -> Sequence[ConsentRecord]:
    """Return a person's evidence, newest first, including that of records merged into theirs."""
    mine = select(Contact.id).where(or_(Contact.id == contact_id, Contact.merged_into_id == contact_id))
    rows = select(ConsentRecord).where(ConsentRecord.contact_id.in_(mine))
    return db.session.scalars(rows.order_by(ConsentRecord.id.desc()).limit(limit)).all()


def states(contact_id: int) -> Sequence[ConsentState]:
    """Return a person's current consent, one row per topic they ever decided on."""
    rows = select(ConsentState).where(ConsentState.contact_id == contact_id)
    return db.session.scalars(rows.order_by(ConsentState.topic)).all()


def topics_known(contact_id: int) -> set[str]:
    """Return the topics a person has any evidence on."""
    topics = select(ConsentRecord.topic).where(ConsentRecord.contact_id == contact_id).distinct()
    return set(db.session.scalars(topics)) & set(rules.TOPICS)


def suppressions_of(contact_id: int) -> Sequence[Suppression]:
    """Return the suppressions of a person's addresses, including lifted ones, newest first."""
    indexes = address_indexes(merge_chain(contact_id))
    rows = select(Suppression).where(Suppression.address_index.in_(indexes))
    return db.session.scalars(rows.order_by(Suppression.id.desc())).all()


@dataclass(frozen=True, kw_only=True)
class SourceEmail:
    """The email that a link came from."""

    message_id: int
    topic: str | None
    sent_at: datetime


# Links carry the low 32 bits of the batch id. The messages feature is above this one in the import order, so its tables
# are read here by name.
_ORIGIN = text("""
    select m.id as message_id, b.topic, m.created_at as sent_at
    from message m join batch b on b.id = m.batch_id
    where m.contact_id = :contact_id and (m.batch_id & 4294967295) = :serial
    order by m.id desc limit 1
""").columns(message_id=BigInteger, topic=Text, sent_at=UtcDateTime)


def source_email(contact_id: int, serial: int) -> SourceEmail | None:
    """Return the email behind a link's serial; None if the link has none or the email is no longer stored."""
    if not serial:
        return None
    found = db.session.execute(_ORIGIN, {"contact_id": contact_id, "serial": serial}).first()
    return (
        SourceEmail(message_id=found.message_id, topic=found.topic, sent_at=found.sent_at) if found else None
    )
