"""Yes and no: asking, saying yes, saying no, taking it back. Everything leaves evidence."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from crm.audit import service as audit
from crm.consent import consent_texts, ledger, queries, rules, suppressions
from crm.consent.consent_texts import Wording
from crm.consent.double_opt_in import CONFIRMATION, INVITATION, known, send_confirmation
from crm.consent.events import ConsentGiven, ConsentRestored, ConsentWithdrawn
from crm.consent.ledger import EVERYTHING, Evidence
from crm.consent.models import Confirmation
from crm.consent.rules import Reason, Standing
from crm.consent.suppressions import ALL, MARKETING, Stop, suppress, suppress_many
from crm.contacts.models import Contact
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.events import publish

__all__ = [
    "ALL", "CONFIRMATION", "INVITATION", "MARKETING", "Changed", "Stop", "can_undo", "confirm", "merge", "send_confirmation",
    "set_language", "set_topics", "snooze", "suppress", "suppress_many", "undo_withdraw", "withdraw",
]  # fmt: skip

UNDOABLE = frozenset(
    {"one_click", "unsubscribe_page", "preferences"}
)  # what a person did, not what happened to them


def confirm(*, confirmation_id: int, language: str | None = None) -> Confirmation:
    """Take a person's yes, to the wording as they read it in `language` (None: in the language of the question).

    A second answer to the same question changes nothing, not even after a later no. This is the one act that lifts
    a "marketing" stop of the address; whatever the stop held back and this yes does not name stays ended.
    Raises NotFound, and Conflict for a question that is too old or no longer this person's.
    """
    confirmation = db.session.get(Confirmation, confirmation_id, with_for_update=True)
    if confirmation is None:
        raise NotFound("There is no such question.")
    standing, contact = queries.standing(confirmation, now=clock.now())
    if standing is Standing.ANSWERED:
        return confirmation
    if standing is not Standing.OPEN or contact is None:
        raise Conflict("This question can no longer be answered.")
    _held(contact.id)
    confirmation.confirmed_at = clock.now()
    _lift(confirmation.address_index)
    read_in = language or confirmation.language
    wording = consent_texts.find(confirmation.wording, read_in)
    _grant(contact, confirmation.topics, wording=wording, language=read_in, source="confirm_link")
    audit.record("consent.confirmed", object_type="contact", object_id=contact.id)
    return confirmation


def _lift(address_index: bytes) -> None:
    if not suppressions.lift([address_index], by="confirm_link"):
        return
    # Yeses from before the stop must not come back to life with it, for nobody at this address.
    everybody = select(Contact.id).where(Contact.email_index == address_index)
    ledger.end(contact_ids=db.session.scalars(everybody).all(), source="stop_lifted")


def _grant(
    contact: Contact, topics: Collection[str], *, wording: Wording, language: str, source: str
) -> None:
    ids = ledger.append(
        [
            Evidence(
                contact_id=contact.id,
                address_index=contact.email_index,
                topic=topic,
                action="granted",
                language=language,
                source=source,
                wording=wording,
            )
            for topic in topics
        ]
    )
    for topic, record_id in zip(topics, ids, strict=True):
        publish(ConsentGiven(contact_id=contact.id, topic=topic, record_id=record_id))


def withdraw(
    *,
    contact_id: int,
    topic: str | None,
    source: str,
    message_id: int | None = None,
    reason: str = "opted_out",
) -> bool:
    """Take a person's no, for one topic or (None) for everything; return whether it changed anything.

    Stop-all also suppresses the address for all that is not transactional. It works for people who were erased or
    merged since: their evidence still knows the address by its index. Unknown people are let be.
    """
    people = _held(contact_id)
    act = clock.now()  # one moment for all of it: that is how an undo knows what belongs together
    topics = None if topic is None else [topic]
    ended = ledger.end(contact_ids=people, topics=topics, source=source, message_id=message_id, at=act)
    stops = [
        Stop(address_index=index, scope=MARKETING, reason=reason, source=source, message_id=message_id)
        for index in (queries.addresses(people) if topic is None else ())
    ]
    written = suppressions.add(stops, at=act)
    if not ended and not written:
        return False
    for person in people:
        publish(ConsentWithdrawn(contact_id=person, topic=topic, reason=reason))
    suppressions.announce(written, but=people)
    audit.record(
        "consent.withdrawn",
        object_type="contact",
        object_id=contact_id,
        detail={"topic": topic, "source": source},
    )
    return True


def undo_withdraw(*, contact_id: int, source: str = "undo") -> bool:
    """Take back the person's own latest no, within the hour; return whether there was one.

    Gives back exactly what that act had ended: a topic that was off before stays off, and a stop that stood before
    (a complaint, say) stays.
    """
    people = _held(contact_id)
    addresses = queries.addresses(people)
    act = queries.latest_no(people, addresses, sources=UNDOABLE, since=clock.now() - rules.UNDO_WITHIN)
    if act is None:
        return False
    suppressions.lift(addresses, by=source, since=act)
    restored = ledger.restore(contact_ids=people, act=act, sources=UNDOABLE, source=source)
    for row in restored:
        publish(
            ConsentRestored(contact_id=row.contact_id, topic=row.topic, record_id=row.id, withdrawn_at=act)
        )
    audit.record("consent.restored", object_type="contact", object_id=contact_id)
    return True


def can_undo(*, contact_id: int) -> bool:
    """Whether `undo_withdraw` would find something now."""
    people = queries.lineage(contact_id)
    since = clock.now() - rules.UNDO_WITHIN
    return queries.latest_no(people, queries.addresses(people), sources=UNDOABLE, since=since) is not None


@dataclass(frozen=True, kw_only=True)
class Changed:
    """What new preferences came to. `asked`: topics that take a yes by email first, and whether one is on its way."""

    granted: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()


def set_topics(
    *, contact_id: int, topics: Collection[str], language: str, source: str = "preferences"
) -> Changed:
    """Make these, and no others, the topics a person gets. For a person who holds a link from their own mailbox.

    An address that is stopped, or is not the one the person once said yes from, is asked by email first.
    Raises Invalid for unknown topics and NotFound for people who are gone.
    """
    contact = _present(contact_id)
    wanted = set(known(topics))
    refusals = queries.refusals(contact_id=contact.id, topics=rules.TOPICS, now=clock.now())
    has = {topic for topic, reason in refusals.items() if reason in (None, Reason.SNOOZED)}
    by_email = {
        topic for topic in wanted - has if refusals[topic] in (Reason.OPTED_OUT, Reason.OTHER_ADDRESS)
    }
    at_once = {topic for topic in wanted - has if refusals[topic] in (Reason.NO_CONSENT, Reason.WITHDRAWN)}
    ended = ledger.end(contact_ids=[contact.id], topics=set(rules.TOPICS) - wanted, source=source)
    for row in ended:
        publish(ConsentWithdrawn(contact_id=contact.id, topic=row.topic, reason="opted_out"))
    wording = consent_texts.current("preferences", language)
    _grant(contact, known(at_once), wording=wording, language=language, source=source)
    if by_email:
        send_confirmation(
            contact=contact,
            topics=by_email,
            kind=CONFIRMATION,
            wording=wording,
            language=language,
            source=source,
        )
    audit.record("consent.topics_set", object_type="contact", object_id=contact.id)
    return Changed(
        granted=frozenset(at_once),
        withdrawn=frozenset(row.topic for row in ended),
        asked=frozenset(by_email),
    )


def snooze(*, contact_id: int, until: datetime | None, source: str = "preferences") -> None:
    """Send nothing but transactional mail before `until`; None ends a pause. Raises Invalid for odd dates."""
    contact = _present(contact_id)
    now = clock.now()
    if until is not None and not now < until <= now + rules.LONGEST_SNOOZE:
        raise Invalid({"until": ["Choose a day between tomorrow and one year from now."]})
    if until == contact.snooze_until:
        return
    ledger.append(
        [
            Evidence(
                contact_id=contact.id,
                address_index=contact.email_index,
                topic=EVERYTHING,
                action="snoozed",
                language=contact.language,
                source=source,
                until=until,
            )
        ]
    )
    contact.snooze_until = until
    audit.record("consent.snoozed", object_type="contact", object_id=contact.id)


def set_language(*, contact_id: int, language: str) -> None:
    """Write to this person in `language` ("en", "es") from now on."""
    if language not in ("en", "es"):
        raise Invalid({"language": ["Choose English or Spanish."]})
    contact = _present(contact_id)
    if contact.language != language:
        contact.language = language
        audit.record("contact.language_set", object_type="contact", object_id=contact.id)


def merge(*, from_id: int, into_id: int) -> None:
    """Bring the evidence of a merged record over. Call it in the act of merging, once the address is settled.

    The newer word on a topic counts, but a yes only where both records write to the same mailbox. Stops belong to
    the address and need no bringing over.
    """
    ledger.pass_on(from_id=from_id, into_id=into_id, source="merge")
    ledger.end(contact_ids=[from_id], source="merge", action="merged")
    gone = db.session.get_one(Contact, from_id)
    ledger.append(
        [
            Evidence(
                contact_id=from_id,
                address_index=gone.email_index,
                topic=EVERYTHING,
                action="merged",
                language=gone.language,
                source="merge",
            )
        ]
    )
    audit.record("consent.merged", object_type="contact", object_id=from_id, detail={"into": into_id})


def _held(contact_id: int) -> list[int]:
    """Return the person's lineage, held until the end: two acts of one person come one after the other."""
    people = queries.lineage(contact_id)
    rows = select(Contact.id).where(Contact.id.in_(people)).order_by(Contact.id)
    db.session.execute(rows.with_for_update(key_share=True))
    return people


def _present(contact_id: int) -> Contact:
    people = _held(contact_id)
    contact = db.session.get(Contact, people[-1], populate_existing=True) if people else None
    if contact is None or contact.erased_at is not None:
        raise NotFound("This record is gone; nothing more will be sent.")
    return contact
