"""Asking a person by email whether they want to hear from us."""

from collections.abc import Collection, Sequence

from sqlalchemy.orm import make_transient_to_detached

from crm.consent import consent_texts, ledger, queries, rules
from crm.consent.consent_texts import Wording
from crm.consent.events import ConfirmationAsked
from crm.consent.ledger import Evidence
from crm.consent.models import Confirmation
from crm.contacts.models import Contact
from crm.core import clock
from crm.core.db import db, execute_raw
from crm.core.errors import Invalid
from crm.core.events import publish

CONFIRMATION = "confirmation"  # the person asked for the emails
INVITATION = "invitation"  # somebody else said that the person agrees to be asked


def send_confirmation(
    *, contact: Contact, topics: Collection[str], kind: str, wording: Wording, language: str, source: str
) -> Confirmation | None:
    """Note that a yes was spoken of, and ask the person themselves by email where that is right.

    `kind` CONFIRMATION is for a person who asked, INVITATION for a referrer's statement. Evidence is written in any
    case. None means that no email goes out: no address, a stop, asked within the last 24 hours, or said yes already.
    Callers answer the same either way, so that nobody learns who is known here. Raises Invalid for unknown topics.
    """
    wanted = known(topics)
    action = "requested" if kind == CONFIRMATION else "attested"
    ledger.append(
        [
            Evidence(
                contact_id=contact.id,
                address_index=contact.email_index,
                topic=topic,
                action=action,
                language=language,
                source=source,
                wording=wording,
            )
            for topic in wanted
        ]
    )
    open_topics = _to_ask(contact, wanted, person_asked=kind == CONFIRMATION)
    if not open_topics or contact.email_index is None:
        return None
    # What an invited person says yes to is not what their referrer signed.
    asked = wording if kind == CONFIRMATION else consent_texts.current(INVITATION, language)
    return _question(
        contact, contact.email_index, topics=open_topics, kind=kind, wording=asked, language=language
    )


def known(topics: Collection[str]) -> list[str]:
    if unknown := set(topics) - set(rules.TOPICS):
        raise Invalid({"topics": [f"There is no topic called {name}." for name in sorted(unknown)]})
    return [topic for topic in rules.TOPICS if topic in topics]


def _to_ask(contact: Contact, topics: Sequence[str], *, person_asked: bool) -> list[str]:
    """Return what is worth asking about. Holds the address, so that of two askers only one finds it left alone."""
    now = clock.now()
    if not person_asked and contact.snooze_until is not None and contact.snooze_until > now:
        return []
    refusals = queries.refusals(contact_id=contact.id, topics=topics, now=now, hold=contact.email_index)
    return [topic for topic in topics if rules.worth_asking(refusals[topic], person_asked=person_asked)]


# Only where the address was left alone for as long as `rules.ASK_AGAIN_AFTER`.
_ASK = """
    insert into confirmation (contact_id, address_index, topics, kind, language, wording, asked_at, expires_at)
    select %(contact_id)s, %(address_index)s, %(topics)s::text[], %(kind)s, %(language)s, %(wording)s, %(asked_at)s,
        %(expires_at)s
    where not exists (
        select 1 from confirmation where address_index = %(address_index)s and asked_at > %(long_ago)s)
    returning id
"""


def _question(
    contact: Contact, address_index: bytes, *, topics: list[str], kind: str, wording: Wording, language: str
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
    found = execute_raw(_ASK, values | {"long_ago": now - rules.ASK_AGAIN_AFTER}).scalar_one_or_none()
    if found is None:
        return None
    confirmation = Confirmation(id=found, confirmed_at=None, **values)
    make_transient_to_detached(confirmation)  # it is in the database, in just this form
    db.session.add(confirmation)
    asked = ConfirmationAsked(confirmation_id=found, contact_id=contact.id, kind=kind, language=language)
    publish(asked)
    return confirmation
