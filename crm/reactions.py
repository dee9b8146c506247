"""What happened -> who acts. The only module of the business that sees every feature."""

from collections.abc import Mapping, Sequence

from crm.consent.events import (
    AddressesSuppressed,
    ConfirmationRequested,
    ConsentGiven,
    ConsentRestored,
    ConsentWithdrawn,
)
from crm.contacts.events import ClinicalStopSet
from crm.content.events import ContentApproved
from crm.core.errors import Conflict, NotFound
from crm.core.events import Event, Handler
from crm.leads import assignment
from crm.leads import service as leads
from crm.leads.events import ConsultationChanged, ContactsMerged, LeadOpened, ReplyRequested, StageMoved
from crm.messages import service as messages
from crm.messages.events import MessageBlocked
from crm.portal import texts as portal_texts
from crm.portal.events import ClinicWrote, ReferralsChanged, ReferralSubmitted
from crm.referrers.events import PortalLinkMade
from crm.sequences import resume as sequences_resume
from crm.sequences import service as sequences
from crm.staff import alerts

BOOKED = frozenset({"scheduled", "consult_scheduled"})  # stages that end the nurture sequence
APPOINTMENTS = {  # what happened to a consultation -> the email that says so
    "booked": "appointment-booked",
    "moved": "appointment-changed",
    "cancelled": "appointment-cancelled",
}
ENDED = frozenset(
    {"not_a_fit", "lost", "spam", "declined", "patient_declined", "duplicate", "entered_in_error"}
)


def ask_by_email(event: ConfirmationRequested) -> None:
    """Send the neutral question whether this person wants to hear from us.

    Without an approved text nothing can be sent; the person's request is kept all the same, and staff are told.
    """
    try:
        messages.send_transactional(
            event.kind,
            contact_id=event.contact_id,
            language=event.language,
            params={"links": {"confirm_url": event.confirmation_id}},
        )
    except NotFound:
        alerts.raise_alert(
            key=f"no-text-{event.kind}",
            level="danger",
            text=f"People wait for an email that has no approved text: {event.kind}.",
        )


def begin_sequence(event: ConsentGiven) -> None:
    """A yes to a topic begins its sequence."""
    sequences.enrol(contact_id=event.contact_id, topic=event.topic, record_id=event.record_id)


def confirm_requests(event: ConsentGiven) -> None:
    """A yes also confirms the contact requests that waited for it."""
    leads.confirm_contact_requests(contact_id=event.contact_id)


def go_on(event: ConsentRestored) -> None:
    """A no taken back right away lets its sequence go on where it was."""
    sequences_resume.resume_enrolment(
        contact_id=event.contact_id, topic=event.topic, record_id=event.record_id, since=event.withdrawn_at
    )


def leave_sequences(event: ConsentWithdrawn) -> None:
    """A no ends what it was said to, queued emails included."""
    sequences.exit_people(contact_ids=[event.contact_id], reason=event.reason, topic=event.topic)


def leave_all(event: AddressesSuppressed) -> None:
    """An address that must not be written to ends everything for whoever has it."""
    sequences.exit_people(contact_ids=event.contact_ids, reason=event.reason)


def stop_at_once(event: ClinicalStopSet) -> None:
    """A clinical stop takes everything queued for the person out within the same commit."""
    sequences.exit_people(contact_ids=[event.contact_id], reason="stopped")


def give_to_whose_turn_it_is(event: LeadOpened) -> None:
    """A new lead gets an owner, where people take leads in turn."""
    assignment.assign_next(lead_id=event.lead_id, language=event.language)


def follow_stage(event: StageMoved) -> None:
    """Booking ends the nurture sequence; so does an end of the lead."""
    if event.now in BOOKED:
        sequences.exit_people(contact_ids=[event.contact_id], reason="booked")
    elif event.now in ENDED:
        sequences.exit_people(contact_ids=[event.contact_id], reason=f"lead {event.now}")


def leave_with_the_record(event: ContactsMerged) -> None:
    """A record that went up in another one gets nothing any more."""
    sequences.exit_people(contact_ids=[event.gone_id], reason="merged")


def tell_of_appointment(event: ConsultationChanged) -> None:
    """Booking, moving or cancelling is said by email; without an address, somebody calls."""
    kind = APPOINTMENTS.get(event.what)
    if kind is None:
        return
    if not event.has_email:
        leads.open_phone_task(contact_id=event.contact_id)
        return
    try:
        _send_appointment(kind, event)
    except NotFound:  # nobody has approved this email yet
        leads.open_phone_task(contact_id=event.contact_id)


def _send_appointment(kind: str, event: ConsultationChanged) -> None:
    messages.send_transactional(
        kind,
        contact_id=event.contact_id,
        language=event.language,
        params={"moments": {"appointment_time": event.starts_at.isoformat()}},
    )


def answer_by_email(event: ReplyRequested) -> None:
    """Staff's answer leaves by an approved text, or not at all: then the request is not answered either."""
    try:
        messages.send_transactional(event.kind, contact_id=event.contact_id, language=event.language)
    except NotFound as error:
        raise Conflict("Nobody has approved this text yet. Call instead, or ask for its approval.") from error


def tell_them_by_phone(event: MessageBlocked) -> None:
    """Mail that no transport may carry: somebody calls."""
    leads.open_phone_task(contact_id=event.contact_id)


def let_content_go(event: ContentApproved) -> None:
    """Approved text frees who waited for it: emails held at the door, and people held before their next step."""
    messages.release_held(version_id=event.version_id, item_id=event.item_id, language=event.language)
    sequences.release_held()


def send_portal_link(event: PortalLinkMade) -> None:
    """Somebody of a practice gets the link that signs them in."""
    _tell_practice("portal-signin", event, {"links": {"signin_url": event.link_id}})


def acknowledge(event: ReferralSubmitted) -> None:
    """Who sent a referral gets its reference number, and nothing about anybody."""
    _tell_practice("acknowledgement-referrer", event, {"facts": {"reference": event.reference}})


def tell_of_message(event: ClinicWrote) -> None:
    """People of a practice learn that a message waits, and not what it says."""
    _tell_practice("portal-message", event, {})


def tell_of_changes(event: ReferralsChanged) -> None:
    """People of a practice learn which references moved, and to which state."""
    said = portal_texts.changes(event.changes, language=event.language)
    _tell_practice("portal-digest", event, {"facts": {"reference": said}})


def _tell_practice(
    kind: str,
    event: PortalLinkMade | ReferralSubmitted | ClinicWrote | ReferralsChanged,
    params: Mapping[str, object],
) -> None:
    """Without an approved text nothing is sent; what was done stays done, and staff are told."""
    try:
        messages.send_transactional(kind, contact_id=event.contact_id, language=event.language, params=params)
    except NotFound:
        alerts.raise_alert(
            key=f"no-text-{kind}",
            level="danger",
            text=f"Practices wait for an email that has no approved text: {kind}.",
        )


TABLE: Mapping[type[Event], Sequence[Handler]] = {
    ConfirmationRequested: (ask_by_email,),
    ConsentGiven: (begin_sequence, confirm_requests),
    ConsentRestored: (go_on,),
    ConsentWithdrawn: (leave_sequences,),
    AddressesSuppressed: (leave_all,),
    ClinicalStopSet: (stop_at_once,),
    LeadOpened: (give_to_whose_turn_it_is,),
    StageMoved: (follow_stage,),
    ContactsMerged: (leave_with_the_record,),
    ReplyRequested: (answer_by_email,),
    ConsultationChanged: (tell_of_appointment,),
    ContentApproved: (let_content_go,),
    MessageBlocked: (tell_them_by_phone,),
    PortalLinkMade: (send_portal_link,),
    ReferralSubmitted: (acknowledge,),
    ClinicWrote: (tell_of_message,),
    ReferralsChanged: (tell_of_changes,),
}
