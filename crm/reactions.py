"""Reactions: the table of what happened and who acts. The only module besides the app that sees every feature."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from crm.consent import new_address
from crm.consent.events import (
    AddressesSuppressed,
    ConfirmationRequested,
    ConsentGiven,
    ConsentRestored,
    ConsentWithdrawn,
)
from crm.consultations import service as consultations
from crm.contacts.events import AddressChanged, ClinicalStopLifted, ClinicalStopSet, TagAdded, TouchUndone
from crm.content import approval
from crm.content.blocks import service as blocks
from crm.content.events import BlockApproved, ContentApproved
from crm.core import current
from crm.core.errors import Conflict, NotFound
from crm.core.events import Event, Handler
from crm.leads import assignment, crisis, stage_work
from crm.leads import service as leads
from crm.leads.events import (
    ConsultationChanged,
    ConsultationUndone,
    ContactsMerged,
    LeadOpened,
    MessageReceived,
    ReplyRequested,
    StageMoved,
)
from crm.leads.queries import CRISIS_KEY
from crm.messages import alert_emails, appointments
from crm.messages import service as messages
from crm.messages.events import AnswerGiven, EmailsDelivered, MessageBlocked
from crm.messages.rules import ENDING_ANSWERS, Answer
from crm.portal import texts as portal_texts
from crm.portal.events import ClinicWrote, ReferralsChanged, ReferralSubmitted
from crm.privacy.events import OwnDataLinkMade
from crm.referrers.events import PortalLinkMade
from crm.sequences import resume as sequences_resume
from crm.sequences import service as sequences
from crm.staff import alerts
from crm.staff import service as staff
from crm.staff import texts as staff_texts
from crm.staff.events import AlertClosed, OwnerNotice, StaffLinkMade

STAFF_LANGUAGE = "en"  # as the console
BOOKED = frozenset({"scheduled", "consult_scheduled"})  # stages that end the nurture sequence
APPOINTMENTS = {  # what happened to a consultation -> the email that says so
    "booked": "appointment-booked",
    "moved": "appointment-changed",
    "cancelled": "appointment-cancelled",
    "reminder": "appointment-reminder",
}
ENDED = frozenset(
    {"not_a_fit", "lost", "spam", "declined", "patient_declined", "duplicate", "entered_in_error"}
)


def send_confirmation_email(event: ConfirmationRequested) -> None:
    """Send the confirmation email of a double opt-in.

    Without an approved text nothing is sent: the request is kept, and an alert is raised.
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
    """Enrol the contact in the sequence of the topic."""
    sequences.enrol(contact_id=event.contact_id, topic=event.topic, record_id=event.record_id)


def confirm_requests(event: ConsentGiven) -> None:
    """Confirm the contact requests that waited for consent."""
    leads.confirm_contact_requests(contact_id=event.contact_id)


def resume_sequence(event: ConsentRestored) -> None:
    """Resume the sequence after an opt-out was undone."""
    sequences_resume.resume_enrolment(
        contact_id=event.contact_id, topic=event.topic, record_id=event.record_id, since=event.withdrawn_at
    )


def exit_sequences_of_topic(event: ConsentWithdrawn) -> None:
    """End the sequences of the topic, queued emails included."""
    sequences.exit_people(contact_ids=[event.contact_id], reason=event.reason, topic=event.topic)


def exit_all_sequences(event: AddressesSuppressed) -> None:
    """End all sequences of the contacts whose address was suppressed."""
    sequences.exit_people(contact_ids=event.contact_ids, reason=event.reason)


def leave_old_address(event: AddressChanged) -> None:
    """Skip the mail that was queued for the old address: sequences, broadcasts, and links made for it."""
    if event.asks:
        sequences.exit_people(contact_ids=[event.contact_id], reason="address_changed")
    messages.skip_confirmations(contact_id=event.contact_id, reason="address_changed")


def ask_at_new_address(event: AddressChanged) -> None:
    """Ask for consent at the new address, if the old one was asked."""
    if event.asks:
        new_address.ask_at_new_address(contact_id=event.contact_id, before=event.before)


def exit_on_clinical_stop(event: ClinicalStopSet) -> None:
    """End all sequences of a stopped contact, queued emails included, in the same transaction."""
    sequences.exit_people(contact_ids=[event.contact_id], reason="stopped")


def suspend_work(event: ClinicalStopSet) -> None:
    """Close the tasks, clocks and alerts of a stopped contact."""
    stage_work.suspend(event.contact_id)


def resume_work(event: ClinicalStopLifted) -> None:
    """Resume the tasks and deadlines that a clinical stop suspended."""
    stage_work.resume(event.contact_id)


def end_wait_after_touch(event: TouchUndone) -> None:
    """Let educational email go on that waited after a contact which is undone; the claim asks everything again."""
    sequences_resume.end_wait_after_touch(contact_id=event.contact_id)
    messages.end_wait_after_touch(contact_id=event.contact_id)


def watch_tag(event: TagAdded) -> None:
    """Raise a crisis alert if the tag speaks of one."""
    crisis.alert_if_person_in_crisis(event.tag, contact_id=event.contact_id)


def end_crisis(event: AlertClosed) -> None:
    """Resume the work on a person whose crisis alert was closed."""
    if event.key.startswith(CRISIS_KEY):
        crisis.end(event.key)


def assign_lead(event: LeadOpened) -> None:
    """Assign a new lead by turns, if assignment is on."""
    assignment.assign_new([event.lead_id])


def end_consultation(event: StageMoved) -> None:
    """End the booked consultation that the new stage settles."""
    consultations.follow_stage(lead_id=event.lead_id, to=event.now)


def exit_on_stage(event: StageMoved) -> None:
    """End sequences when the lead is booked or closed."""
    if event.now in BOOKED:
        sequences.exit_people(contact_ids=[event.contact_id], reason="booked")
    elif event.now in ENDED:
        sequences.exit_people(contact_ids=[event.contact_id], reason=f"lead {event.now}")


def wake_waiting(event: AnswerGiven | ConsultationChanged | StageMoved) -> None:
    """Wake the sequences of a person that wait for such a fact. A fact that ends them comes before it in the table."""
    sequences_resume.wake_person(event.contact_id)


def wake_delivered(event: EmailsDelivered) -> None:
    """Wake the sequences that wait for the delivery of an email."""
    sequences_resume.wake_delivered(event.message_ids)


def exit_merged_record(event: ContactsMerged) -> None:
    """End the sequences of a merged record."""
    sequences.exit_people(contact_ids=[event.gone_id], reason="merged")


def email_appointment(event: ConsultationChanged) -> None:
    """Email the appointment, or open a call task if that is impossible."""
    kind = APPOINTMENTS.get(event.what)
    if kind is None:
        return
    if not event.has_email:
        leads.open_phone_task(contact_id=event.contact_id)
        return
    try:
        _send_appointment(kind, event)
    except NotFound:  # this email is not approved yet
        if event.what != "reminder":  # the person knows the time already
            leads.open_phone_task(contact_id=event.contact_id)


def _send_appointment(kind: str, event: ConsultationChanged) -> None:
    said = appointments.params(
        lead_id=event.lead_id, starts_at=event.starts_at, is_booked=event.what != "cancelled"
    )
    message_id = messages.send_transactional(
        kind, contact_id=event.contact_id, language=event.language, params=said
    )
    appointments.skip_earlier(message_id=message_id, lead_id=event.lead_id, contact_id=event.contact_id)


def correct_appointment(event: ConsultationUndone) -> None:
    """Skip the email of a change that was undone; if one left already, email what holds."""
    change = event.change
    is_booked = change.what != "cancelled"
    if (
        appointments.skip_out_of_date(
            lead_id=change.lead_id, contact_id=change.contact_id, is_booked=is_booked
        )
        and change.has_email
    ):
        email_appointment(change)


def send_reply(event: ReplyRequested) -> None:
    """Send the reply that staff chose. Raises Conflict, which undoes the reply, without an approved text."""
    try:
        messages.send_transactional(event.kind, contact_id=event.contact_id, language=event.language)
    except NotFound as error:
        raise Conflict("This text is not approved yet. Call instead, or have it approved.") from error


def acknowledge_message(event: MessageReceived) -> None:
    """Email a person that their message arrived, if that text is approved."""
    with suppress(NotFound):
        messages.send_transactional(
            "acknowledgement-patient", contact_id=event.contact_id, language=event.language
        )


def request_call(event: MessageBlocked) -> None:
    """Open a call task for mail that no transport may carry."""
    leads.open_phone_task(contact_id=event.contact_id)


def request_answered_call(event: AnswerGiven) -> None:
    """Open a call task for a person who asked for a call with a button in an email."""
    if event.answer is Answer.CALL:
        leads.request_call(contact_id=event.contact_id)


def end_answered_sequence(event: AnswerGiven) -> None:
    """End the sequence of the email, if no other email follows this answer; queued emails included."""
    if event.answer in ENDING_ANSWERS and event.enrolment_id is not None:
        sequences.end_after_answer(enrolment_id=event.enrolment_id, contact_id=event.contact_id)


def release_held_emails(event: ContentApproved) -> None:
    """Release the emails and enrolments that waited for this approval."""
    messages.release_held(version_id=event.version_id, item_id=event.item_id, language=event.language)
    sequences.release_held()


def approve_emails_with_block(event: BlockApproved) -> None:
    """Carry the approval of a changed block over to the emails that hold it."""
    blocks.carry_over(approval.get(event.version_id))


def send_portal_link(event: PortalLinkMade) -> None:
    """Email a portal user their sign-in link."""
    _email_practice("portal-signin", event, {"links": {"signin_url": event.link_id}})


def tell_account_owner(event: OwnerNotice) -> None:
    """Email the owner of a staff account what happened to it; without an approved text, raise an alert."""
    params = {"facts": {"reference": staff_texts.notice(event.what, language=STAFF_LANGUAGE)}}
    try:
        _email_staff("staff-notice", event.user_id, params)
    except NotFound:
        alerts.raise_alert(
            key="no-text-staff-notice",
            level="warning",
            text="Staff are not told by email what happens to their accounts: the email has no approved text.",
            link="/console/content",
        )


def send_staff_link(event: StaffLinkMade) -> None:
    """Email a member of staff their sign-in link. Raises Conflict, which undoes the link, without an approved text."""
    try:
        _email_staff("staff-signin", event.user_id, {"links": {"staff_signin_url": event.link_id}})
    except NotFound as error:
        raise Conflict(
            "The email with the sign-in link has no approved text yet, so no link was sent. Approve it under Content, "
            "or print a link on the server: flask --app wsgi staff sign-in-link."
        ) from error


def _email_staff(kind: str, user_id: int, params: Mapping[str, object]) -> None:
    contact_id = alert_emails.contact_of(staff.get(user_id).email, current.settings().clinic.time_zone)
    messages.send_transactional(kind, contact_id=contact_id, language=STAFF_LANGUAGE, params=params)


def send_own_data_link(event: OwnDataLinkMade) -> None:
    """Email a person the link to their own data; without an approved text, raise an alert."""
    try:
        messages.send_transactional(
            "own-data",
            contact_id=event.contact_id,
            language=event.language,
            params={"links": {"data_url": event.link_id}},
        )
    except NotFound:
        alerts.raise_alert(
            key="no-text-own-data",
            level="danger",
            text="People who ask for their own data wait for an email that has no approved text: own-data.",
            link="/console/content",
        )


def acknowledge_referral(event: ReferralSubmitted) -> None:
    """Email the sender the reference of their referral, and nothing about the patient."""
    _email_practice("acknowledgement-referrer", event, {"facts": {"reference": event.reference}})


def notify_of_message(event: ClinicWrote) -> None:
    """Email the practice that a message waits, without its text."""
    _email_practice("portal-message", event, {})


def notify_of_changes(event: ReferralsChanged) -> None:
    """Email the practice which references changed, and their status."""
    said = portal_texts.changes_line(event.changes, language=event.language)
    _email_practice("portal-digest", event, {"facts": {"reference": said}})


def _email_practice(
    kind: str,
    event: PortalLinkMade | ReferralSubmitted | ClinicWrote | ReferralsChanged,
    params: Mapping[str, object],
) -> None:
    """Email a practice, or raise an alert if no text is approved."""
    try:
        messages.send_transactional(kind, contact_id=event.contact_id, language=event.language, params=params)
    except NotFound:
        alerts.raise_alert(
            key=f"no-text-{kind}",
            level="danger",
            text=f"Practices wait for an email that has no approved text: {kind}.",
        )


TABLE: Mapping[type[Event], Sequence[Handler]] = {
    ConfirmationRequested: (send_confirmation_email,),
    ConsentGiven: (begin_sequence, confirm_requests),
    ConsentRestored: (resume_sequence,),
    ConsentWithdrawn: (exit_sequences_of_topic,),
    AddressesSuppressed: (exit_all_sequences,),
    AddressChanged: (leave_old_address, ask_at_new_address),
    ClinicalStopSet: (exit_on_clinical_stop, suspend_work),
    ClinicalStopLifted: (resume_work,),
    AlertClosed: (end_crisis,),
    TouchUndone: (end_wait_after_touch,),
    TagAdded: (watch_tag,),
    LeadOpened: (assign_lead,),
    MessageReceived: (acknowledge_message,),
    StageMoved: (end_consultation, exit_on_stage, wake_waiting),
    ContactsMerged: (exit_merged_record,),
    ReplyRequested: (send_reply,),
    ConsultationChanged: (email_appointment, wake_waiting),
    ConsultationUndone: (correct_appointment,),
    ContentApproved: (release_held_emails,),
    BlockApproved: (approve_emails_with_block,),
    MessageBlocked: (request_call,),
    AnswerGiven: (request_answered_call, end_answered_sequence, wake_waiting),
    EmailsDelivered: (wake_delivered,),
    OwnerNotice: (tell_account_owner,),
    StaffLinkMade: (send_staff_link,),
    OwnDataLinkMade: (send_own_data_link,),
    PortalLinkMade: (send_portal_link,),
    ReferralSubmitted: (acknowledge_referral,),
    ClinicWrote: (notify_of_message,),
    ReferralsChanged: (notify_of_changes,),
}
