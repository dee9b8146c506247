"""What comes in, whatever the way it came: find or make the contact, open the lead, keep the evidence. One transaction."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select

from crm.audit import service as audit
from crm.consent import service as consent
from crm.consent.consent_texts import Wording
from crm.consent.rules import ConfirmationKind
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.contacts.rules import Person
from crm.core import clock, crypto, current, events, row_scope
from crm.core.db import as_json, db, execute_raw, sealed
from crm.core.errors import Conflict
from crm.intake.values import Unread, list_unread
from crm.leads import crisis, references, rules, stage_work
from crm.leads import service as leads
from crm.leads.events import LeadOpened, MessageReceived
from crm.leads.models import Lead, Referral
from crm.leads.rules import LeadKind
from crm.referrers import service as referrers
from crm.referrers.models import Clinician
from crm.referrers.service import Sender

ACKNOWLEDGED = frozenset({"form", "api"})
"""Sources whose requests the person sent a moment ago."""


@dataclass(frozen=True, kw_only=True)
class ContactRequest:
    """What a person asked of us. `wording` is the text beside the box they ticked, None when they did not.

    `left_out`: optional values that could not be read, for staff. `is_spam`: goes to the spam bin, where
    staff can restore it; nothing is sent.
    """

    person: Person
    source: str  # form, api, import, or one of `rules.BY_HAND`
    contact_id: int | None = None  # the known record that staff chose
    message: str | None = None
    heard_from: str | None = None
    first_touch: dict[str, str] | None = None
    wording: Wording | None = None
    left_out: Sequence[Unread] = ()
    is_spam: bool = False


@dataclass(frozen=True, kw_only=True)
class NewReferral:
    """What a referrer told us. `health` and `guardian` are stored encrypted, as JSON.

    `attestation` is the text by which the referrer states that the patient agreed to be asked by email.
    """

    person: Person
    sender: Sender
    source: str  # api, portal, import, or one of `rules.BY_HAND`
    sent_at: datetime
    contact_id: int | None = None  # the known record that staff chose
    health: Mapping[str, Any] = field(default_factory=dict)
    guardian: Mapping[str, Any] | None = None
    urgency: str = "routine"
    service: str = "consult"
    contact_person: str | None = None
    external_id: str | None = None
    patient_informed: bool = False
    attestation: Wording | None = None
    left_out: Sequence[Unread] = ()  # optional values that could not be read, for staff


@dataclass(frozen=True, kw_only=True)
class IntakeResult:
    """The lead of an intake. `is_new` is False when the same request was sent before."""

    lead_id: int
    contact_id: int
    reference: str
    stage: str
    is_new: bool
    person_is_new: bool = False  # this intake made the record of the person


@row_scope.lifted()
def open_contact_request(*, request: ContactRequest, demo: bool = False) -> IntakeResult:
    """Take in a contact request; the same request again within a day is the same lead."""
    found = find_person(request.person, contact_id=request.contact_id, demo=demo)
    content = _content_index(rules.CONTACT_REQUEST, request.message or "")
    opened = None if found.is_new else _same_open(found.contact, rules.CONTACT_REQUEST, content)
    if opened is None:
        opened = _open(
            found,
            kind=rules.CONTACT_REQUEST,
            stage=_first_stage(request, found.contact),
            source=request.source,
            values={
                "message": request.message,
                "heard_from": request.heard_from,
                "first_touch": request.first_touch,
                "content_index": content,
                "demo": demo,
            },
        )
        in_crisis = crisis.alert_if_crisis(
            request.message, lead_id=opened.lead_id, reference=opened.reference
        )
        if not in_crisis and _is_acknowledged(request, found.contact, lead_id=opened.lead_id):
            events.publish(MessageReceived(contact_id=found.contact.id, language=request.person.language))
    _note_differences(opened, found, request.person)
    _note_left_out(opened, request.left_out)
    if request.wording is not None and not request.is_spam:
        request_confirmation(
            found, request.person, kind=ConfirmationKind.CONFIRMATION, topic="prospect_edu",
            wording=request.wording, source=request.source,
        )  # fmt: skip
    return opened


def find_person(
    person: Person, *, contact_id: int | None = None, demo: bool = False
) -> contacts.ContactMatch:
    """Return the contact that was chosen for a person, else find or create theirs."""
    person = without_our_address(person)
    if contact_id is not None:
        return contacts.match_chosen(contact_id=contact_id, person=person)
    return contacts.find_or_create(person=person, demo=demo)


def _is_acknowledged(request: ContactRequest, contact: Contact, *, lead_id: int) -> bool:
    """Return whether the arrival of a request is acknowledged by email: once a day for each address, and not to people
    who get the question for their consent anyway.
    """
    if request.is_spam or request.source not in ACKNOWLEDGED or request.wording is not None:
        return False
    if not _is_reached_at(contact, request.person):
        return False
    lately = (
        select(Lead.id)
        .join(Contact, Contact.id == Lead.contact_id)
        .where(
            Contact.email_index == contact.email_index,
            Lead.created_at > clock.now() - rules.SAME_WITHIN,
            Lead.id != lead_id,
        )
    )
    return db.session.scalar(lately.limit(1)) is None


def without_our_address(person: Person) -> Person:
    """Return the person without an email address that is the clinic's own: mail to it reaches nobody who asked."""
    clinic = current.settings().clinic
    ours = {address.lower() for address in (clinic.email, clinic.from_email, clinic.care_email)}
    return replace(person, email=None) if person.email in ours else person


def _first_stage(request: ContactRequest, contact: Contact) -> str:
    if request.is_spam:
        return rules.SPAM
    asks = request.wording is not None and _is_reached_at(contact, request.person)
    return rules.first_stage(rules.CONTACT_REQUEST, asked_to_confirm=asks)


@row_scope.lifted()
def open_referral(
    *, referral: NewReferral, practice_id: int | None = None, demo: bool = False
) -> IntakeResult:
    """Take in a referral. Its external id, or else the same content within a day, makes it the same referral.

    `practice_id` is the one practice the caller may speak for. Raises Invalid for an NPI that is none, Conflict for
    a clinician of another practice or for an external id that another patient's referral has.
    """
    clinician = referrers.find_or_create(sender=referral.sender, practice_id=practice_id, demo=demo)
    if practice_id is not None and clinician.practice_id != practice_id:
        raise Conflict("This NPI belongs to a clinician of another practice.")
    found = find_person(referral.person, contact_id=referral.contact_id, demo=demo)
    content = referral_index(clinician.practice_id, referral.health)
    opened = _same_referral(referral, clinician, found.contact, content)
    if opened is None and not found.is_new:
        opened = _same_open(found.contact, rules.REFERRAL, content)
    if opened is None:
        opened = _open(
            found,
            kind=rules.REFERRAL,
            stage=rules.first_stage(rules.REFERRAL),
            source=referral.source,
            values={
                "heard_from": "doctor",
                "content_index": content,
                "demo": demo,
                "urgent": referral.urgency == "urgent",
            },
        )
        _store(opened, referral, clinician)
        if not _is_suspended(found):
            stage_work.open_call_task(
                lead_id=opened.lead_id, title=stage_work.CALL_PATIENT, urgent=referral.urgency == "urgent"
            )
        crisis.alert_if_crisis(*_strings(referral.health), lead_id=opened.lead_id, reference=opened.reference)
    elif referral.urgency == "urgent":
        leads.make_urgent(lead_id=opened.lead_id)
    _note_differences(opened, found, referral.person)
    _note_practice_differences(opened, clinician, referral.sender)
    _note_left_out(opened, referral.left_out)
    if opened.is_new and referral.attestation is not None:
        request_confirmation(
            found, referral.person, kind=ConfirmationKind.INVITATION, topic="referred_edu",
            wording=referral.attestation, source="referrer",
        )  # fmt: skip
    return opened


def request_confirmation(
    found: contacts.ContactMatch,
    person: Person,
    *,
    kind: ConfirmationKind,
    topic: str,
    wording: Wording,
    source: str,
) -> None:
    """Ask the person by email to confirm, but never at a different address than the submitted one."""
    if not _is_reached_at(found.contact, person):
        return
    consent.request_confirmation(
        contact=found.contact,
        topics=[topic],
        kind=kind,
        wording=wording,
        language=person.language,
        source=source,
    )


def _is_reached_at(contact: Contact, person: Person) -> bool:
    """Return whether the submitted address is the one of the record."""
    return person.email is not None and contact.email == person.email


def _strings(value: Any) -> Iterator[str]:
    """Yield every text inside nested mappings and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | Sequence):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(inner)


def referral_index(practice_id: int, health: Mapping[str, Any]) -> bytes:
    """Return the blind index that is equal for the same referral sent twice.

    The practice belongs to it: two practices may well say the same of one patient on one day.
    """
    return _content_index(rules.REFERRAL, f"{practice_id} {as_compact(health)}")


def _content_index(kind: str, content: str) -> bytes:
    return crypto.blind_index("lead content", f"{kind}|{content}")


def as_compact(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


_SAME = (
    select(Lead.id, Lead.contact_id, Lead.reference, Lead.stage)
    .where(
        Lead.contact_id == bindparam("contact_id"),
        Lead.kind == bindparam("kind"),
        Lead.content_index == bindparam("content"),
        Lead.created_at > bindparam("after"),
        Lead.closed_at.is_(None),
    )
    .order_by(Lead.id.desc())
    .limit(1)
)


def _same_open(contact: Contact, kind: str, content: bytes) -> IntakeResult | None:
    after = clock.now() - rules.SAME_WITHIN
    given = {"contact_id": contact.id, "kind": kind, "content": content, "after": after}
    row = db.session.execute(_SAME, given).first()
    return _again(row) if row else None


def _again(row: Any) -> IntakeResult:
    return IntakeResult(
        lead_id=row.id, contact_id=row.contact_id, reference=row.reference, stage=row.stage, is_new=False
    )


def _same_referral(
    referral: NewReferral, clinician: Clinician, contact: Contact, content: bytes
) -> IntakeResult | None:
    if referral.external_id is None:
        return None
    row = db.session.execute(
        select(Lead.id, Lead.contact_id, Lead.reference, Lead.stage, Lead.content_index)
        .join(Referral, Referral.lead_id == Lead.id)
        .where(Referral.practice_id == clinician.practice_id, Referral.external_id == referral.external_id)
    ).first()
    if row is not None and row.contact_id != contact.id:
        raise Conflict("This external id belongs to the referral of another patient.")
    if row is not None and bytes(row.content_index or b"") != content:
        _note_other_text(_again(row), referral)
    return _again(row) if row else None


def _note_other_text(opened: IntakeResult, referral: NewReferral) -> None:
    """Keep what a referral says differently that was sent before: the first one stays, and nothing is lost."""
    texts = list(_strings(referral.health))
    contacts.record_activity(
        contact_id=opened.contact_id,
        lead_id=opened.lead_id,
        kind="sent_again",
        text="\n".join(filter(None, texts)),
    )
    crisis.alert_if_crisis(*texts, lead_id=opened.lead_id, reference=opened.reference)


# The lead, the first line of its history, of the timeline and of the audit log: one statement, one round trip.
_OPEN = f"""
    with opened as (
        insert into lead (reference, contact_id, kind, stage, source, heard_from, first_touch, message, content_index,
            created_at, stage_at, due_at, closed_at, first_human_touch_at, urgent, demo, version)
        values (:reference, :contact_id, :kind, :stage, :source, :heard_from, :first_touch,
            :message, :content_index, :now, :now, :due_at, :closed_at, :touched_at, :urgent, :demo, 1)
        on conflict (reference) do nothing
        returning id),
    moved as (
        insert into stage_move (lead_id, now, actor, at) select id, :stage, :actor, :now from opened),
    noted as (
        insert into activity (contact_id, lead_id, at, kind, actor, detail)
        select :contact_id, id, :now, 'lead_opened', :actor, :detail from opened),
    logged as ({audit.record_sql("lead.open", "lead", rows="opened")})
    select id from opened
"""


def _is_suspended(found: contacts.ContactMatch) -> bool:
    return not found.is_new and stage_work.is_suspended(found.contact)


def _open(
    found: contacts.ContactMatch, *, kind: LeadKind, stage: str, source: str, values: Mapping[str, Any]
) -> IntakeResult:
    now, contact = clock.now(), found.contact
    given = {
        "heard_from": None,
        "urgent": False,
        **values,
        "contact_id": contact.id,
        "kind": kind,
        "stage": stage,
        "source": source,
        "first_touch": as_json(values.get("first_touch")),
        "message": sealed(values.get("message")),
        "now": now,
        "due_at": rules.due_at(
            kind=kind, stage=stage, since=now, calendar=current.calendar(), urgent=values.get("urgent", False)
        )
        if not _is_suspended(found)
        else None,
        "touched_at": now if source in rules.SPOKEN_WITH else None,
        "closed_at": now if rules.STAGES[kind][stage].ends else None,
        **audit.sql_params("lead.open", "lead", detail={"kind": kind, "source": source}),
    }
    lead_id = None
    while lead_id is None:  # a reference that is taken already: draw again
        reference = references.new_reference(kind)
        lead_id = execute_raw(_OPEN, given | {"reference": reference}).scalar_one_or_none()
    if stage != rules.SPAM:
        events.publish(
            LeadOpened(lead_id=lead_id, contact_id=contact.id, kind=kind, language=contact.language)
        )
    return IntakeResult(
        lead_id=lead_id,
        contact_id=contact.id,
        reference=reference,
        stage=stage,
        is_new=True,
        person_is_new=found.is_new,
    )


def _store(opened: IntakeResult, referral: NewReferral, clinician: Clinician) -> None:
    attested = referral.attestation
    db.session.add(
        Referral(
            lead_id=opened.lead_id,
            practice_id=clinician.practice_id,
            clinician_id=clinician.id,
            external_id=referral.external_id,
            urgency=referral.urgency,
            service=referral.service,
            health=as_compact(referral.health),
            contact_person=referral.contact_person,
            guardian=as_compact(referral.guardian) if referral.guardian else None,
            patient_informed=referral.patient_informed,
            patient_agreed_to_email=attested is not None,
            attestation=attested.name if attested else None,
            attestation_hash=attested.hash if attested else None,
            sent_at=referral.sent_at,
        )
    )


def _note_left_out(opened: IntakeResult, left_out: Sequence[Unread]) -> None:
    """Record optional values that could not be read, for staff to ask about."""
    if opened.is_new and left_out:
        texts = [one.text for one in left_out]
        crisis.alert_if_crisis(*texts, lead_id=opened.lead_id, reference=opened.reference)
        contacts.record_activity(
            contact_id=opened.contact_id,
            lead_id=opened.lead_id,
            kind="left_out",
            text=list_unread(left_out),
        )


def _note_differences(opened: IntakeResult, found: contacts.ContactMatch, person: Person) -> None:
    """Record submitted values that differ from the record, for staff to decide."""
    note_otherwise(
        contact_id=found.contact.id,
        lead_id=opened.lead_id,
        said={name: getattr(person, name) for name in found.differing},
    )


def note_otherwise(
    *, contact_id: int, lead_id: int, said: Mapping[str, Any], act_id: int | None = None
) -> None:
    """Record what was written otherwise than the record has it (field -> value), for staff to decide.

    `act_id`: the act that may be undone, and this with it.
    """
    if said:
        contacts.record_activity(
            contact_id=contact_id,
            lead_id=lead_id,
            kind="told_otherwise",
            text="; ".join(f"{name.replace('_', ' ')}: {value or ''}" for name, value in said.items()),
            detail={"fields": list(said)} | ({"act_id": act_id} if act_id is not None else {}),
        )


def _note_practice_differences(opened: IntakeResult, clinician: Clinician, sender: referrers.Sender) -> None:
    """Record what a sender says of their practice that its record does not, for staff to decide."""
    names = referrers.differing(clinician.practice, sender)
    if names and opened.is_new:
        contacts.record_activity(
            contact_id=opened.contact_id,
            lead_id=opened.lead_id,
            kind="practice_told_otherwise",
            text="; ".join(f"{name}: {getattr(sender, name)}" for name in names),
            detail={"fields": names},
        )
