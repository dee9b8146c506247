"""Reading consent: the one decision as SQL, the same for any past moment, and what staff look at."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Text, or_, select, text

from crm.consent import rules
from crm.consent.models import Confirmation, ConsentRecord, ConsentState, Suppression
from crm.consent.rules import Reason, Standing
from crm.contacts.models import Contact
from crm.core.db import UtcDateTime, db, execute_raw
from crm.core.paging import Page, keyset

# `rules.decide` for whole sets. Put REFUSAL_JOINS after a FROM that has the contact as `c`; REFUSAL_CASE is then the
# reason as text, or NULL for "may be written to". Parameters: :topic (text or NULL), :transactional (boolean), :now.
# `cs` is the state of consent for the topic; EVIDENCE is the record that a message to this person stands on.
# Lateral, with a limit or an aggregate inside, so that each part finds one row at most and the planner cannot turn
# it into reading a whole table: a contact costs two look-ups in an index, however large the tables are.
REFUSAL_JOINS = """
    left join lateral (
        select s.granted, s.record_id, s.address_index, s.at from consent_state s
        where s.contact_id = c.id and s.topic = cast(:topic as text) limit 1
    ) cs on true
    left join lateral (
        select bool_or(s.scope = 'all') as everything, bool_or(s.scope = 'marketing') as marketing
        from suppression s where s.address_index = c.email_index and s.lifted_at is null
    ) stops on true
"""
REFUSAL_CASE = """(case
    when c.erased_at is not null then 'erased'
    when c.merged_into_id is not null then 'merged'
    when c.email is null or c.email_index is null then 'no_address'
    when c.stop_reason is not null then 'stopped'
    when stops.everything then 'suppressed'
    when cast(:transactional as boolean) then null
    when stops.marketing then 'opted_out'
    when cs.granted is null then 'no_consent'
    when not cs.granted then 'withdrawn'
    when cs.address_index <> c.email_index then 'other_address'
    when c.snooze_until > cast(:now as timestamptz) then 'snoozed'
end)"""
EVIDENCE = "(case when cs.granted then cs.record_id end)"

_REFUSAL = text(f"select {REFUSAL_CASE} from contact c {REFUSAL_JOINS} where c.id = :contact_id")


def refusal(*, contact_id: int, topic: str | None, transactional: bool, now: datetime) -> Reason | None:
    """Return why this one person may not be written to now, or None when they may. Unknown people: ERASED."""
    given = {"contact_id": contact_id, "topic": topic, "transactional": transactional, "now": now}
    found = db.session.execute(_REFUSAL, given).first()
    if found is None:
        return Reason.ERASED
    return Reason(found[0]) if found[0] else None


# The same for one person and several topics, in psycopg's own writing. An address may be held on the way, by a number.
_REFUSALS = f"""
    select t.topic, {REFUSAL_CASE} as refusal, pg_advisory_xact_lock(%(hold)s::bigint)
    from contact c cross join unnest(%(topics)s::text[]) as t(topic) {REFUSAL_JOINS}
    where c.id = %(contact_id)s
"""
for _ours, _theirs in (
    ("cast(:topic as text)", "t.topic"),
    ("cast(:transactional as boolean)", "false"),
    ("cast(:now as timestamptz)", "%(now)s"),
):
    _REFUSALS = _REFUSALS.replace(_ours, _theirs)


def refusals(
    *, contact_id: int, topics: Sequence[str], now: datetime, hold: bytes | None = None
) -> dict[str, Reason | None]:
    """Return the same for several topics, for mail that is not transactional. One statement.

    `hold`: an address (its index) that nobody else may ask about until this transaction ends.
    """
    number = int.from_bytes(hold[:8], signed=True) if hold else None
    given = {"contact_id": contact_id, "topics": list(topics), "now": now, "hold": number}
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


def lineage(contact_id: int) -> list[int]:
    """Return the person's record and the records it was merged into, the living one last; empty for nobody."""
    return list(db.session.scalars(_LINEAGE, {"contact_id": contact_id}))


_ADDRESSES = text("""
    select email_index from contact where id = any(:people) and email_index is not null
    union
    select r.address_index from consent_record r join contact c on c.id = r.contact_id
    where c.id = any(:people) and c.email_index is null and r.address_index is not null
""")


def addresses(people: Sequence[int]) -> list[bytes]:
    """Return the address indexes of these people; of the erased, those that their evidence remembers."""
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


def latest_no(
    people: Sequence[int], addresses: Sequence[bytes], *, sources: Collection[str], since: datetime
) -> datetime | None:
    """Return the moment of these people's newest withdrawal by one of `sources`, not before `since`."""
    given = {"people": list(people), "addresses": list(addresses), "sources": sorted(sources), "since": since}
    found: datetime | None = db.session.scalar(_LATEST_NO, given)
    return found


def standing(confirmation: Confirmation, *, now: datetime) -> tuple[Standing, Contact | None]:
    """Return what has become of a question, and the living record of the person it was put to."""
    people = lineage(confirmation.contact_id)
    contact = db.session.get(Contact, people[-1]) if people else None
    return rules.standing(
        now=now,
        expires_at=confirmation.expires_at,
        confirmed_at=confirmation.confirmed_at,
        address_index=confirmation.address_index,
        address_index_now=contact.email_index if contact else None,
    ), contact


def evidence(contact_id: int, *, limit: int = 200) -> Sequence[ConsentRecord]:
    """Return a person's evidence, newest first, with that of records that went up in theirs."""
    mine = select(Contact.id).where(or_(Contact.id == contact_id, Contact.merged_into_id == contact_id))
    rows = select(ConsentRecord).where(ConsentRecord.contact_id.in_(mine))
    return db.session.scalars(rows.order_by(ConsentRecord.id.desc()).limit(limit)).all()


def states(contact_id: int) -> Sequence[ConsentState]:
    """Return what holds for a person now, one row per topic they ever said yes or no to."""
    rows = select(ConsentState).where(ConsentState.contact_id == contact_id)
    return db.session.scalars(rows.order_by(ConsentState.topic)).all()


def topics_known(contact_id: int) -> set[str]:
    """Return the topics there is any evidence on."""
    topics = select(ConsentRecord.topic).where(ConsentRecord.contact_id == contact_id).distinct()
    return set(db.session.scalars(topics)) & set(rules.TOPICS)


def stops(contact_id: int) -> Sequence[Suppression]:
    """Return the stops of a person's addresses, lifted ones too, newest first."""
    indexes = addresses(lineage(contact_id))
    rows = select(Suppression).where(Suppression.address_index.in_(indexes))
    return db.session.scalars(rows.order_by(Suppression.id.desc())).all()


def all_stops(*, cursor: str | None = None, limit: int = 50) -> Page[Suppression]:
    """Return all stops that hold, newest first, a page at a time. They name no address: only an index of it."""
    rows = select(Suppression).where(Suppression.lifted_at.is_(None))
    return keyset(rows, by=[Suppression.id], cursor=cursor, limit=limit, kinds=[int])


def questions(contact_id: int) -> Sequence[Confirmation]:
    """Return what a person was asked by email, newest first."""
    rows = select(Confirmation).where(Confirmation.contact_id == contact_id)
    return db.session.scalars(rows.order_by(Confirmation.id.desc())).all()


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The email that a link came from."""

    message_id: int
    topic: str | None
    sent_at: datetime


# Links carry the low 32 bits of the batch's number. The ledger of messages lies above this feature, so its tables are
# read here by name, and nothing of its code is.
_ORIGIN = text("""
    select m.id as message_id, b.topic, m.created_at as sent_at
    from message m join batch b on b.id = m.batch_id
    where m.contact_id = :contact_id and (m.batch_id & 4294967295) = :serial
    order by m.id desc limit 1
""").columns(message_id=BigInteger, topic=Text, sent_at=UtcDateTime)


def origin(contact_id: int, serial: int) -> Origin | None:
    """Return the email behind a link's serial; None for a link that names none, or one we no longer know."""
    if not serial:
        return None
    found = db.session.execute(_ORIGIN, {"contact_id": contact_id, "serial": serial}).first()
    return Origin(message_id=found.message_id, topic=found.topic, sent_at=found.sent_at) if found else None
