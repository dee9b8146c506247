"""The verbs of the portal: send a referral, keep a draft, add files, write messages. A practice reaches only its own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.consent import consent_texts
from crm.contacts.rules import InvalidValue, clean_text
from crm.core import clock, crypto, events, file_types
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.intake import corrections
from crm.intake.corrections import SentForm
from crm.intake.service import NewReferral, open_referral
from crm.intake.values import Unread
from crm.leads import crisis
from crm.leads import service as leads
from crm.leads.models import Lead, Referral
from crm.portal import referral_form
from crm.portal.events import ClinicWrote, ReferralSubmitted
from crm.portal.models import Attachment, Draft, PortalMessage, Submission
from crm.referrers import accounts
from crm.referrers.models import PortalPerson, PortalState
from crm.referrers.service import Sender
from crm.staff import alerts
from crm.staff.notifications import service as notifications
from crm.staff.notifications.models import NotificationKind

DRAFT_LIFE = timedelta(days=7)
MESSAGE_LIMIT = 2000  # characters
WITHDRAWABLE = frozenset({"received", "in_review", "info_requested", "accepted", "contacting"})
"""Stages at which a practice withdraws a referral itself: no appointment was made yet."""


@dataclass(frozen=True, kw_only=True)
class UploadedFile:
    """A file as it came in."""

    name: str
    content: bytes


def get_for_practice(*, reference: str, practice_id: int) -> Lead:
    """Return a referral that this practice sent. Raises NotFound, the same for one of another practice and for none."""
    lead = db.session.scalar(
        select(Lead)
        .join(Referral, Referral.lead_id == Lead.id)
        .where(Lead.reference == reference.strip().upper(), Referral.practice_id == practice_id)
    )
    if lead is None:
        raise NotFound("Your practice sent no referral with this reference.")
    return lead


def submit(
    *,
    person: PortalPerson,
    clean: Mapping[str, Any],
    language: str,
    zone: str,
    files: Sequence[UploadedFile] = (),
    left_out: Sequence[Unread] = (),
) -> Lead:
    """Take in a form that is in order; the same form again gives the same referral.

    `language` is that of the page, whose wordings were ticked; `zone` the clinic's time zone. Raises Conflict for a
    clinician of another practice, or an external id of another patient.
    """
    lead, is_new = open_from_form(person=person, clean=clean, language=language, zone=zone, left_out=left_out)
    if is_new:
        add_files(lead=lead, files=files)
        _acknowledge(lead, person)
    delete_draft(person)
    return lead


def open_from_form(
    *,
    person: PortalPerson,
    clean: Mapping[str, Any],
    language: str,
    zone: str,
    left_out: Sequence[Unread] = (),
) -> tuple[Lead, bool]:
    """Open a referral, as `submit` does, for one of many: no email to the practice for each; a draft stays.

    Returns the referral and whether it is new. Raises Conflict as `submit`.
    """
    referral = _referral(person, clean, language=language, zone=zone, left_out=left_out)
    opened = open_referral(referral=referral, practice_id=person.practice_id)
    db.session.flush()
    lead = get_for_practice(reference=opened.reference, practice_id=person.practice_id)
    if opened.is_new:
        _note_submission(lead, person, language=language)
        _keep_sent(lead, clean, contact_person=referral.contact_person, is_own=opened.person_is_new)
    return lead, opened.is_new


def _referral(
    person: PortalPerson,
    clean: Mapping[str, Any],
    *,
    language: str,
    zone: str,
    left_out: Sequence[Unread],
) -> NewReferral:
    return NewReferral(
        person=referral_form.person(clean, clinic_zone=zone),
        sender=Sender(clinician=clean["clinician_name"], npi=clean["npi"], practice=person.practice.name),
        source="portal",
        sent_at=clock.now(),
        health=referral_form.health(clean),
        guardian=referral_form.guardian(clean),
        urgency=clean["urgency"],
        service=clean["service"],
        contact_person=clean["contact_person"] or person.name,
        external_id=clean["external_id"],
        patient_informed=True,
        attestation=consent_texts.current("referral-attestation", language) if clean["agreed"] else None,
        left_out=left_out,
    )


def _keep_sent(lead: Lead, clean: Mapping[str, Any], *, contact_person: str | None, is_own: bool) -> None:
    if lead.referral is not None:
        answers = referral_form.answers_of({**clean, "contact_person": contact_person})
        form = SentForm(answers=answers, contact_id=lead.contact_id if is_own else None)
        corrections.keep_sent(lead.referral, form)


def _note_submission(lead: Lead, person: PortalPerson, *, language: str) -> None:
    informed = consent_texts.current("referral-informed", language)
    db.session.add(
        Submission(
            lead_id=lead.id,
            person_id=person.id,
            informed=informed.name,
            informed_hash=informed.hash,
            at=clock.now(),
        )
    )


def _acknowledge(lead: Lead, person: PortalPerson) -> None:
    events.publish(
        ReferralSubmitted(
            lead_id=lead.id, contact_id=person.contact_id, reference=lead.reference, language=person.language
        )
    )


def check_files(files: Sequence[UploadedFile]) -> list[tuple[str, str]]:
    """Return (code, file name) of everything that is wrong with the files."""
    wrong = []
    if len(files) > file_types.MOST_FILES:
        wrong.append(("many_files", ""))
    for file in files:
        code = file_types.file_problem(name=file.name, content=file.content)
        if code is not None:
            wrong.append((f"file_{code}", file_types.safe_name(file.name)))
    return wrong


def add_files(*, lead: Lead, files: Sequence[UploadedFile]) -> None:
    """Keep files with a referral, encrypted. Raises Invalid with codes for files we do not take."""
    kept = db.session.scalar(select(func.count()).where(Attachment.lead_id == lead.id)) or 0
    wrong = check_files(files)
    if kept + len(files) > file_types.MOST_FILES and ("many_files", "") not in wrong:
        wrong.append(("many_files", ""))
    if wrong:
        raise Invalid({"files": [f"{code}|{name}" for code, name in wrong]})
    for file in files:
        row = Attachment(
            lead_id=lead.id,
            name=file_types.safe_name(file.name),
            kind=file_types.kind_of(file.content) or "",
            size=len(file.content),
            content=crypto.encrypt(file.content),
            actor=audit.current().actor,
            at=clock.now(),
        )
        db.session.add(row)
        db.session.flush()
        audit.record("attachment.add", object_type="attachment", object_id=row.id)


def files_of(lead_id: int) -> Sequence[Attachment]:
    """Return the files of a referral, without what is in them, the oldest first."""
    query = select(Attachment).where(Attachment.lead_id == lead_id).order_by(Attachment.id)
    return db.session.scalars(query).all()


def read_file(*, lead_id: int, attachment_id: int) -> tuple[Attachment, bytes]:
    """Return a file of a referral and what is in it; the look is noted. Raises NotFound."""
    row = db.session.get(Attachment, attachment_id)
    if row is None or row.lead_id != lead_id:
        raise NotFound("File not found.")
    audit.record("attachment.view", object_type="attachment", object_id=row.id, purpose="care")
    return row, crypto.decrypt(row.content)


def save_draft(*, person: PortalPerson, answers: Mapping[str, str]) -> None:
    """Keep what was typed for a week; what was kept before is replaced."""
    now = clock.now()
    values = {
        "answers": json.dumps(referral_form.typed_answers(answers)),
        "saved_at": now,
        "expires_at": now + DRAFT_LIFE,
    }
    row = insert(Draft).values(person_id=person.id, **values)
    db.session.execute(row.on_conflict_do_update(index_elements=[Draft.person_id], set_=values))
    audit.record("draft.save", object_type="portal_person", object_id=person.id)


def get_draft(person: PortalPerson) -> dict[str, str] | None:
    """Return what this person began and did not send; None when there is nothing or it is too old."""
    row = db.session.scalar(select(Draft).where(Draft.person_id == person.id, Draft.expires_at > clock.now()))
    return referral_form.typed_answers(json.loads(row.answers)) if row is not None else None


def delete_draft(person: PortalPerson) -> None:
    """Forget what was begun."""
    db.session.execute(delete(Draft).where(Draft.person_id == person.id))


def delete_expired_drafts() -> None:
    """Forget drafts whose week is over."""
    db.session.execute(delete(Draft).where(Draft.expires_at <= clock.now()))


def messages_of(lead_id: int) -> Sequence[PortalMessage]:
    """Return what practice and clinic wrote about a referral, the oldest first."""
    query = select(PortalMessage).where(PortalMessage.lead_id == lead_id).order_by(PortalMessage.id)
    return db.session.scalars(query.limit(500)).all()


def withdraw(*, lead: Lead, text: str) -> None:
    """Withdraw a referral that no consultation was booked for; the practice says why.

    Raises Invalid without a reason, Conflict when it is too late.
    """
    if lead.stage not in WITHDRAWABLE:
        raise Conflict("This referral can no longer be withdrawn here. Write to us instead.")
    write_message(lead=lead, text=text, from_clinic=False)
    leads.move_stage(lead_id=lead.id, version=lead.version, to="entered_in_error")
    audit.record("referral.withdraw", object_type="lead", object_id=lead.id)


def write_message(*, lead: Lead, text: str, from_clinic: bool) -> PortalMessage:
    """Add a message about a referral. The email to the other side does not contain it.

    Raises Invalid with the problem of the text, as text, Conflict for a lead no practice sent.
    """
    if lead.referral is None:
        raise Conflict("No practice sent this lead.")
    try:
        text = clean_text(text, limit=MESSAGE_LIMIT)
    except InvalidValue as error:
        raise Invalid({"text": [error.problem.as_text("text")]}) from error
    if not text:
        raise Invalid({"text": ["required:text"]})
    row = PortalMessage(
        lead_id=lead.id, from_clinic=from_clinic, actor=audit.current().actor, text=text, at=clock.now()
    )
    db.session.add(row)
    db.session.flush()
    crisis.alert_if_crisis(text, lead_id=lead.id, reference=lead.reference)
    audit.record("portal_message.write", object_type="lead", object_id=lead.id)
    if from_clinic:
        for person in accounts.people_of(lead.referral.practice_id):
            if person.state is PortalState.OPEN:
                events.publish(ClinicWrote(contact_id=person.contact_id, language=person.language))
        alerts.close(f"portal-message:{lead.id}")
    else:
        alerts.raise_alert(
            key=f"portal-message:{lead.id}",
            level="info",
            text=f"A practice wrote about referral {lead.reference}.",
            link=f"/console/referrers/referrals/{lead.reference}",
        )
        notifications.notify(
            [lead.owner_id],
            kind=NotificationKind.REPLY,
            subject=lead.reference,
            link=f"/console/referrers/referrals/{lead.reference}",
        )
    return row
