"""What the portal says about referrals and forms, in the reader's language."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask_babel import force_locale, gettext
from flask_babel import lazy_gettext as _

from crm.contacts.rules import Problem
from crm.contacts.texts import sentence
from crm.intake.values import Unread

STAGES: Mapping[str, tuple[Any, Any]] = {  # stage -> what it is called, what it means for the practice
    "received": (_("Received"), _("We have the referral and will review it within one business day.")),
    "in_review": (_("In review"), _("Our team is reviewing it.")),
    "info_requested": (_("Information needed"), _("Please read our message, or call us.")),
    "accepted": (_("Accepted"), _("We can see this patient and will call them.")),
    "declined": (_("Not accepted"), _("We cannot see this patient. The reason is below.")),
    "contacting": (_("Calling the patient"), _("We are trying to reach the patient.")),
    "unable_to_reach": (_("Not reached"), _("We called several times and did not reach the patient.")),
    "patient_declined": (_("Patient declined"), _("The patient decided against an appointment.")),
    "scheduled": (_("Appointment booked"), _("The patient has an appointment.")),
    "no_show": (_("No-show"), _("The patient missed the appointment. We will call them again.")),
    "cancelled": (_("Appointment cancelled"), _("The appointment was cancelled; we will call the patient.")),
    "rescheduled": (_("Appointment rescheduled"), _("We are rescheduling the appointment.")),
    "seen": (_("Seen"), _("The patient came to the appointment. We will send our report.")),
    "report_sent": (_("Report sent"), _("We sent you our report.")),
    "closed": (_("Closed"), _("This referral is complete.")),
    "duplicate": (_("Duplicate"), _("We are working on another referral for the same patient.")),
    "entered_in_error": (_("Entered in error"), _("This referral was withdrawn.")),
}

REASONS: Mapping[str, Any] = {
    "missing_records": _("records are missing"),
    "missing_contact": _("a way to reach the patient is missing"),
    "clinical_question": _("we have a clinical question"),
    "insurance": _("insurance"),
    "out_of_scope": _("not something we treat"),
    "not_eligible": _("not eligible for this treatment"),
    "safety": _("safety"),
    "capacity": _("no appointments available"),
    "outside_area": _("outside our area"),
    "incomplete": _("the referral was incomplete"),
    "no_answer": _("no answer"),
    "wrong_number": _("wrong number"),
    "not_interested": _("not interested"),
    "cost": _("cost"),
    "chose_other": _("chose another clinic"),
    "travel": _("too far to travel"),
    "feels_better": _("feels better"),
    "patient": _("at the patient's request"),
    "clinic": _("at our request"),
    "other": _("another reason"),
}

FIELDS: Mapping[str, Any] = {
    "clinician": _("Clinician"),
    "clinician_name": _("Name of the clinician"),
    "npi": _("NPI"),
    "contact_person": _("Contact person"),
    "external_id": _("Your reference number for this referral"),
    "first_name": _("First name"),
    "last_name": _("Last name"),
    "birth_date": _("Birth date"),
    "phone": _("Phone"),
    "email": _("Email address"),
    "language": _("Language"),
    "state": _("State where the patient lives"),
    "guardian_name": _("Parent or guardian"),
    "guardian_relation": _("Relation"),
    "guardian_phone": _("Phone of the guardian"),
    "reason": _("Reason"),
    "diagnoses": _("ICD-10 codes"),
    "payer": _("Insurance"),
    "member_id": _("Member number"),
    "urgency": _("How soon?"),
    "service": _("Service requested"),
}

CODED = ("language", "urgency", "service")  # answers that are stored as a code

WRONG: Mapping[str, Any] = {  # what only the portal says: "code:field" comes before "code"
    "required": _("Enter this. It is required."),
    "required:text": _("Write a message first."),
    "required:first_name": _("Enter the patient's first name."),
    "required:last_name": _("Enter the patient's last name."),
    "required:phone": _("Enter the patient's phone number. We will call it."),
    "required:reason": _("Enter the reason for the referral."),
    "required:birth_date": _("Enter the patient's birth date."),
    "required:clinician": _("Choose the referring clinician, or enter a name and an NPI below."),
    "birth_date": _("Enter a date of birth between 1900 and today, such as 5/17/1970."),
    "npi": _(
        "An NPI has ten digits; the last one checks the others. This one does not fit. Only the format is checked."
    ),
    "npi_taken": _("This NPI belongs to a clinician of another practice. Please call us."),
    "guardian": _("The patient is under 18. Enter the name of a parent or guardian."),
    "informed": _("We can only take the referral when the patient knows about it. Tick the box to confirm."),
    "agreed_without_email": _("Enter the patient's email address, or untick the box about email."),
    "external_id": _("This reference number belongs to the referral of another patient."),
    "many_files": _("Choose at most 5 files."),
    "file_empty": _("“%(name)s” is empty."),
    "file_big": _("“%(name)s” is larger than 10 MB."),
    "file_kind": _("“%(name)s” is not a PDF, JPEG or PNG file."),
    "file_name": _("The name “%(name)s” does not fit what is in the file. Give it the right ending."),
    "files_again": _("Files cannot be kept here: please choose them again."),
}


def problem(wrong: Problem, name: str) -> str:
    """Return the words for a problem with a field."""
    own = WRONG.get(f"{wrong.code}:{name}") or WRONG.get(wrong.code)
    return str(own) if own else sentence(wrong)


def stored_problem(text: str) -> str:
    """Return the words for a problem that a service gives as text."""
    name, wrong = Problem.from_text(text)
    return problem(wrong, name)


def left_out(unread: Sequence[Unread]) -> str:
    """Return which values of a referral could not be read, for the page that answers it."""
    names = ", ".join(dict.fromkeys(str(FIELDS[one.field]) for one in unread))
    return str(
        gettext(
            "The referral is with us without what we could not read: %(names)s. Please write it to us below.",
            names=names,
        )
    )


CODES: Mapping[str, Any] = {
    "en": "English",
    "es": "Español",
    "routine": _("Routine"),
    "urgent": _("Urgent"),
    "consult": _("Consultation only"),
    "treat": _("Evaluation and treatment"),
}


def answers(sent: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what a practice sent as (label, text); empty answers are left out."""
    return [
        (str(FIELDS[name]), str(CODES[text]) if name in CODED else text)
        for name, text in sent.items()
        if text
    ]


def stage_label(code: str) -> str:
    """Return what a stage is called."""
    return str(STAGES[code][0])


SHOWN = 20  # references in one email


def changes_line(moved: Sequence[tuple[str, str]], *, language: str) -> str:
    """Return one line for an email: how many referrals changed, and reference and state of each. Nothing else."""
    with force_locale(language):
        count = len(moved)
        said = (
            gettext("1 of your referrals changed")
            if count == 1
            else gettext("%(count)s of your referrals changed", count=count)
        )
        each = [f"{reference} {stage_label(code)}" for reference, code in moved[:SHOWN]]
        return f"{said}: {'; '.join(each)}{' …' if count > SHOWN else ''}"
