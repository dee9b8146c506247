"""Double opt-in: the email that asks a person to confirm a subscription."""

from collections.abc import Collection, Sequence

from sqlalchemy.orm import make_transient_to_detached

from crm.consent import consent_texts, ledger, queries, rules
from crm.consent.consent_texts import Wording
from crm.consent.events import ConfirmationRequested
from crm.consent.ledger import Evidence
from crm.consent.models import Confirmation
from crm.consent.rules import ConfirmationKind, ConsentAction
from crm.contacts.models import Contact
from crm.core import clock
from crm.core.db import db, execute_raw
from crm.core.errors import Invalid
from crm.core.events import publish

_EVIDENCE_OF = {
    ConfirmationKind.CONFIRMATION: ConsentAction.REQUESTED,
    ConfirmationKind.INVITATION: ConsentAction.ATTESTED,
}


def request_confirmation(
    *,
    contact: Contact,
    topics: Collection[str],
    kind: ConfirmationKind,
    wording: Wording,
    language: str,
    source: str,
) -> Confirmation | None:
    """Record that consent was requested and, where allowed, request the confirmation email; `crm.reactions` sends it.

    Evidence is always written. None means that no email is sent: the person has no address, is suppressed, was asked
    within the last 24 hours (or several others at the address were), or has already consented. Callers respond the same
    way in every case, so that nobody learns which addresses are known here. Raises Invalid for unknown topics.
    """
    wanted = known_topics(topics)
    person_asked = kind == ConfirmationKind.CONFIRMATION
    ledger.append(
        [
            Evidence(
                contact_id=contact.id,
                address_index=contact.email_index,
                topic=topic,
                action=_EVIDENCE_OF[kind],
                language=language,
                source=source,
                wording=wording,
            )
            for topic in wanted
        ]
    )
    open_topics = _unconfirmed(contact, wanted, person_asked=person_asked)
    if not open_topics or contact.email_index is None:
        return None
    # An invited person consents to the invitation text, not to the text their referrer attested.
    shown = wording if person_asked else consent_texts.current("invitation", language)
    return _create_confirmation(
        contact, contact.email_index, topics=open_topics, kind=kind, wording=shown, language=language
    )


def known_topics(topics: Collection[str]) -> list[str]:
    """Return the topics in the order of `rules.TOPICS`. Raises Invalid for unknown ones."""
    if unknown := set(topics) - set(rules.TOPICS):
        raise Invalid({"topics": [f"Topic {name} not found." for name in sorted(unknown)]})
    return [topic for topic in rules.TOPICS if topic in topics]


def _unconfirmed(contact: Contact, topics: Sequence[str], *, person_asked: bool) -> list[str]:
    """Return the topics to confirm. Locks the address so concurrent requests send at most one confirmation."""
    now = clock.now()
    if not person_asked and contact.snooze_until is not None and contact.snooze_until > now:
        return []
    refusals = queries.refusals(
        contact_id=contact.id, topics=topics, now=now, lock_address=contact.email_index
    )
    return [topic for topic in topics if rules.may_ask(refusals[topic], person_asked=person_asked)]


# Inserts nothing if the person, or a family behind the address, was asked lately: see `rules.ASK_AGAIN_AFTER`.
_INSERT = """
    insert into confirmation (contact_id, address_index, topics, kind, language, wording, asked_at, expires_at)
    select :contact_id, :address_index, :topics::text[], :kind, :language, :wording, :asked_at,
        :expires_at
    where (select count(*) < :most and count(*) filter (where contact_id = :contact_id) = 0
        from confirmation where address_index = :address_index and asked_at > :recently)
    returning id
"""


def _create_confirmation(
    contact: Contact,
    address_index: bytes,
    *,
    topics: list[str],
    kind: ConfirmationKind,
    wording: Wording,
    language: str,
) -> Confirmation | None:
    now = clock.now()
    values = {
        "contact_id": contact.id,
        "address_index": address_index,
        "topics": topics,
        "kind": kind,
        "language": language,
        "wording": wording.name,
        "asked_at": now,
        "expires_at": now + rules.CONFIRM_WITHIN,
    }
    limit = {"recently": now - rules.ASK_AGAIN_AFTER, "most": rules.ASKED_PER_ADDRESS}
    row_id = execute_raw(_INSERT, values | limit).scalar_one_or_none()
    if row_id is None:
        return None
    confirmation = Confirmation(id=row_id, confirmed_at=None, **values)
    make_transient_to_detached(confirmation)  # the row already exists with these values
    db.session.add(confirmation)
    publish(
        ConfirmationRequested(confirmation_id=row_id, contact_id=contact.id, kind=kind, language=language)
    )
    return confirmation
