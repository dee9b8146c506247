"""Consent: confirm, withdraw, undo, set preferences, merge. Every change appends evidence."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from crm.audit import service as audit
from crm.consent import consent_texts, ledger, queries, rules, suppressions
from crm.consent.consent_texts import Wording
from crm.consent.double_opt_in import known_topics, request_confirmation
from crm.consent.events import ConsentGiven, ConsentRestored, ConsentWithdrawn
from crm.consent.ledger import EVERYTHING, Evidence
from crm.consent.models import Confirmation
from crm.consent.rules import ConfirmationKind, ConfirmationStatus, ConsentAction, Reason, SuppressionScope
from crm.consent.suppressions import NewSuppression, suppress, suppress_many
from crm.contacts.models import Contact
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.events import publish

__all__ = [
    "NewSuppression", "PreferenceChange", "can_undo", "confirm", "merge_consent", "record_unmerge", "request_confirmation",
    "set_language", "set_topics", "snooze", "suppress", "suppress_many", "undo_withdraw", "withdraw",
]  # fmt: skip

UNDOABLE = frozenset({"one_click", "unsubscribe_page", "preferences"})  # sources: the person's own actions


def confirm(*, confirmation_id: int, language: str | None = None) -> Confirmation:
    """Grant consent to the topics of a confirmation, with the wording in `language` (None: in its own language).

    A second answer changes nothing, not even after a later withdrawal. Nothing else lifts a marketing suppression of
    the address; topics that the suppression ended and this confirmation does not name stay ended.
    Raises NotFound, and Conflict if the confirmation has expired or is no longer for this person.
    """
    confirmation = db.session.get(Confirmation, confirmation_id, with_for_update=True)
    if confirmation is None:
        raise NotFound("Confirmation not found.")
    status, contact = queries.confirmation_status(confirmation, now=clock.now())
    if status is ConfirmationStatus.ANSWERED:
        return confirmation
    if status is not ConfirmationStatus.OPEN or contact is None:
        raise Conflict("This confirmation can no longer be answered.")
    _lock_merge_chain(contact.id)
    confirmation.confirmed_at = clock.now()
    _lift_suppression(confirmation.address_index)
    read_in = language or confirmation.language
    wording = consent_texts.find(confirmation.wording, read_in)
    _grant(contact, confirmation.topics, wording=wording, language=read_in, source="confirm_link")
    audit.record("consent.confirmed", object_type="contact", object_id=contact.id)
    return confirmation


def _lift_suppression(address_index: bytes) -> None:
    if not suppressions.lift_suppressions([address_index], by="confirm_link"):
        return
    # Consent from before the suppression must not become active again for anyone at this address.
    at_address = select(Contact.id).where(Contact.email_index == address_index)
    ledger.withdraw_granted(contact_ids=db.session.scalars(at_address).all(), source="stop_lifted")


def _grant(
    contact: Contact, topics: Collection[str], *, wording: Wording, language: str, source: str
) -> None:
    ids = ledger.append(
        [
            Evidence(
                contact_id=contact.id,
                address_index=contact.email_index,
                topic=topic,
                action=ConsentAction.GRANTED,
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
    """Withdraw a person's consent to one topic or (None) to all; return whether anything changed.

    Withdrawing from all topics also suppresses the address for marketing email. This works for people who were erased
    or merged since, because their evidence still has the address index. Unknown people are ignored.
    """
    people = _lock_merge_chain(contact_id)
    act = clock.now()  # one time for the whole act: it tells an undo which rows belong together
    topics = None if topic is None else [topic]
    ended = ledger.withdraw_granted(
        contact_ids=people, topics=topics, source=source, message_id=message_id, at=act
    )
    stops = [
        NewSuppression(
            address_index=index,
            scope=SuppressionScope.MARKETING,
            reason=reason,
            source=source,
            message_id=message_id,
        )
        for index in (queries.address_indexes(people) if topic is None else ())
    ]
    written = suppressions.insert_suppressions(stops, at=act)
    if not ended and not written:
        return False
    for person in people:
        publish(ConsentWithdrawn(contact_id=person, topic=topic, reason=reason))
    suppressions.publish_suppressions(written, exclude=people)
    audit.record(
        "consent.withdrawn",
        object_type="contact",
        object_id=contact_id,
        detail={"topic": topic, "source": source},
    )
    return True


def undo_withdraw(*, contact_id: int, source: str = "undo") -> bool:
    """Undo the person's own latest withdrawal, within the hour; return whether there was one.

    Restores exactly what that act ended: a topic that was off before stays off, and an earlier suppression (a
    complaint, for example) stays.
    """
    people = _lock_merge_chain(contact_id)
    addresses = queries.address_indexes(people)
    act = queries.latest_withdrawal(
        people, addresses, sources=UNDOABLE, since=clock.now() - rules.UNDO_WITHIN
    )
    if act is None:
        return False
    suppressions.lift_suppressions(addresses, by=source, since=act)
    restored = ledger.restore_withdrawn(contact_ids=people, act=act, sources=UNDOABLE, source=source)
    for row in restored:
        if row.contact_id == people[-1]:  # a merged record has no sequences
            publish(
                ConsentRestored(
                    contact_id=row.contact_id, topic=row.topic, record_id=row.id, withdrawn_at=act
                )
            )
    audit.record("consent.restored", object_type="contact", object_id=contact_id)
    return True


def can_undo(*, contact_id: int) -> bool:
    """Return whether `undo_withdraw` would undo anything now."""
    people = queries.merge_chain(contact_id)
    since = clock.now() - rules.UNDO_WITHIN
    return (
        queries.latest_withdrawal(people, queries.address_indexes(people), sources=UNDOABLE, since=since)
        is not None
    )


@dataclass(frozen=True, kw_only=True)
class PreferenceChange:
    """Result of new preferences. `asked` are the topics that must be confirmed by email first."""

    granted: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()


def set_topics(
    *, contact_id: int, topics: Collection[str], language: str, source: str = "preferences"
) -> PreferenceChange:
    """Set the topics a person receives to exactly these. For a person with a link from their own mailbox.

    A suppressed address, or one that consent was not given from, must confirm by email first.
    Raises Invalid for unknown topics, and NotFound for erased people.
    """
    people = _present_chain(contact_id)
    contact = people[-1]
    wanted = set(known_topics(topics))
    at_once, by_email = _ways_to_grant(contact.id, wanted)
    ended = ledger.withdraw_granted(
        contact_ids=[one.id for one in people], topics=set(rules.TOPICS) - wanted, source=source
    )
    for row in ended:
        publish(ConsentWithdrawn(contact_id=contact.id, topic=row.topic, reason="opted_out"))
    wording = consent_texts.current("preferences", language)
    _grant(contact, known_topics(at_once), wording=wording, language=language, source=source)
    if by_email:
        request_confirmation(
            contact=contact,
            topics=by_email,
            kind=ConfirmationKind.CONFIRMATION,
            wording=wording,
            language=language,
            source=source,
        )
    audit.record("consent.topics_set", object_type="contact", object_id=contact.id)
    return PreferenceChange(
        granted=frozenset(at_once),
        withdrawn=frozenset(row.topic for row in ended),
        asked=frozenset(by_email),
    )


def _ways_to_grant(contact_id: int, wanted: set[str]) -> tuple[set[str], set[str]]:
    """Return of the wanted topics those that are granted at once, and those to be confirmed by email."""
    refusals = queries.refusals(contact_id=contact_id, topics=rules.TOPICS, now=clock.now())
    at_once = {topic for topic in wanted if refusals[topic] in (Reason.NO_CONSENT, Reason.WITHDRAWN)}
    by_email = {topic for topic in wanted if refusals[topic] in (Reason.OPTED_OUT, Reason.OTHER_ADDRESS)}
    return at_once, by_email


def snooze(*, contact_id: int, until: datetime | None, source: str = "preferences") -> None:
    """Send only transactional email before `until`; None ends a pause. Raises Invalid for a date out of range.

    It holds for the record that was merged, too, so that it outlives an undo of the merge.
    """
    people = _present_chain(contact_id)
    now = clock.now()
    if until is not None and not now < until <= now + rules.LONGEST_SNOOZE:
        raise Invalid({"until": ["Choose a day between tomorrow and one year from now."]})
    changed = [one for one in people if one.snooze_until != until]
    if not changed:
        return
    ledger.append(
        [
            Evidence(
                contact_id=one.id,
                address_index=one.email_index,
                topic=EVERYTHING,
                action=ConsentAction.SNOOZED,
                language=one.language,
                source=source,
                until=until,
            )
            for one in changed
        ]
    )
    for one in changed:
        one.snooze_until = until
    audit.record("consent.snoozed", object_type="contact", object_id=people[-1].id)


def set_language(*, contact_id: int, language: str) -> None:
    """Set the language of this person's emails ("en" or "es"). Raises Invalid."""
    if language not in ("en", "es"):
        raise Invalid({"language": ["Choose English or Spanish."]})
    contact = _present(contact_id)
    if contact.language != language:
        contact.language = language
        audit.record("contact.language_set", object_type="contact", object_id=contact.id)


def merge_consent(*, from_id: int, into_id: int) -> None:
    """Copy the consent of a merged record to the surviving one. Call it during the merge, after the address is set.

    The newer decision on a topic counts, but a grant only if both records have the same address. Suppressions belong
    to the address and need no copying.
    """
    ledger.copy_newer_consent(from_id=from_id, into_id=into_id, source="merge")
    ledger.withdraw_granted(contact_ids=[from_id], source="merge", action=ConsentAction.MERGED)
    gone = db.session.get_one(Contact, from_id)
    ledger.append(
        [
            Evidence(
                contact_id=from_id,
                address_index=gone.email_index,
                topic=EVERYTHING,
                action=ConsentAction.MERGED,
                language=gone.language,
                source="merge",
            )
        ]
    )
    audit.record("consent.merged", object_type="contact", object_id=from_id, detail={"into": into_id})


def record_unmerge(*, kept_id: int, gone_id: int, before: Mapping[tuple[int, str], int | None]) -> None:
    """Record that a merge was undone. `before`: per contact and topic, the evidence that held before the merge.

    A no since the merge, by the link of either record, holds for both.
    """
    refused = ledger.refused_since_merge(kept_id=kept_id, gone_id=gone_id)
    decisions = [(contact_id, topic, record_id) for (contact_id, topic), record_id in before.items()]
    ledger.append_unmerged([*decisions, (gone_id, EVERYTHING, None)], source="unmerge")
    if refused:
        ledger.withdraw_granted(contact_ids=[kept_id, gone_id], topics=refused, source="unmerge")
    for topic in refused:
        for person in (kept_id, gone_id):
            publish(ConsentWithdrawn(contact_id=person, topic=topic, reason="opted_out"))
    audit.record("consent.unmerged", object_type="contact", object_id=gone_id)


def _lock_merge_chain(contact_id: int) -> list[int]:
    """Return the person's merge chain, locked until the transaction ends, so that a person's acts run one by one."""
    people = queries.merge_chain(contact_id)
    rows = select(Contact.id).where(Contact.id.in_(people)).order_by(Contact.id)
    db.session.execute(rows.with_for_update(key_share=True))
    return people


def _present(contact_id: int) -> Contact:
    return _present_chain(contact_id)[-1]


def _present_chain(contact_id: int) -> list[Contact]:
    """Return the records of a person's merge chain, locked, the surviving one last. Raises NotFound if it is erased."""
    ids = _lock_merge_chain(contact_id)
    people = [db.session.get_one(Contact, one, populate_existing=True) for one in ids]
    if not people or people[-1].erased_at is not None:
        raise NotFound("This record was erased; no more emails will be sent.")
    return people
