"""New entries by staff: a contact, a lead or a referral by phone, walk-in, fax or event; through the one intake service."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import current_user

from crm.audit import service as audit
from crm.contacts import look_alikes
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.core import clock, current
from crm.core.blueprints import ConsolePages
from crm.core.errors import Conflict, Invalid
from crm.core.us_states import STATES
from crm.desk.lead_page import SERVICES
from crm.desk.list_filters import SOURCES
from crm.desk.people import new_form
from crm.desk.people.contact_page import LANGUAGES
from crm.desk.people.new_form import CONTACT, LEAD, REFERRAL, NewResult
from crm.desk.record_access import record_scope
from crm.intake import by_hand
from crm.intake.texts import HEARD_FROM
from crm.leads import rules
from crm.leads.documents import service as documents
from crm.referrers import service as referrers
from crm.referrers.models import Clinician
from crm.referrers.service import Sender
from crm.staff import access

pages = ConsolePages("new", __name__, url_prefix="/new", part_of="leads")


@pages.get("")
@access.require("work_leads")
def show() -> ResponseReturnValue:
    """Show an empty form, or one for a known person."""
    known = _known(request.args.get("contact", ""))
    return _form(_kind(request.args.get("what", LEAD)), {}, known=known)


def _kind(text: str) -> str:
    if text not in new_form.KINDS:
        raise Invalid({"what": ["Choose what to enter."]})
    return text


def _known(text: str) -> Contact | None:
    return contacts.get(int(text)) if text.isdecimal() and len(text) < 19 else None


@pages.post("")
@access.require("work_leads")
def create() -> ResponseReturnValue:
    """Enter what was typed; show look-alikes and clinicians to choose from first."""
    kind, typed = _kind(request.form.get("what", "")), new_form.typed_answers(request.form)
    read = new_form.read_new(typed, kind=kind, today=clock.today())
    clinician, choices = _clinician(read, typed) if kind == REFERRAL else (None, [])
    if read.wrong:
        return _form(kind, typed, errors=read.wrong, clinicians=choices, status=422)
    person = new_form.person(read.clean, clinic_zone=current.settings().clinic.time_zone)
    chosen = request.form.get("contact", "")
    alike = look_alikes.look_alikes(person) if not chosen else []
    if alike or choices:
        return _form(kind, typed, alike=alike, clinicians=choices)
    known = _known(chosen)
    try:
        return _enter(kind, read, clinician, person=person, known=known)
    except Conflict as error:
        abort(_form(kind, typed, errors={"_": [error.message]}, status=409))


def _enter(
    kind: str, read: NewResult, clinician: Clinician | None, *, person: Any, known: Contact | None
) -> ResponseReturnValue:
    clean = read.clean
    entry = by_hand.Entry(
        person=person,
        source=clean["source"],
        contact_id=known.id if known else None,
        spoken_agreement=clean["spoken"],
    )
    if kind == CONTACT:
        contact = by_hand.add_contact(entry)
        flash(gettext("Contact saved."), "success")
        return redirect(url_for("console.contacts.show", contact_id=contact.id))
    if kind == LEAD:
        opened = by_hand.open_lead(entry, message=clean["message"], heard_from=clean["heard_from"])
    else:
        opened = by_hand.open_referral(
            entry,
            sender=_sender(clean, clinician),
            health=new_form.health(clean),
            guardian=new_form.guardian(clean),
            urgency=clean["urgency"],
            service_wanted=clean["service"],
            external_id=clean["external_id"],
            patient_informed=clean["informed"],
            left_out=clean["left_out"],
        )
    said = gettext("%(reference)s opened.", reference=opened.reference)
    if not opened.is_new:
        said = gettext("%(reference)s has this already; nothing was added.", reference=opened.reference)
    flash(said, "success")
    if opened.is_new:
        record_scope.keep_in_view(opened.lead_id, user=current_user)
    if (fax := _fax()) is not None:
        documents.attach(document_id=fax, lead_id=opened.lead_id)
    return redirect(url_for("console.leads.show", reference=opened.reference))


def _fax() -> int | None:
    """Return the id of the fax that the entry is made from."""
    text = request.values.get("fax", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _clinician(read: NewResult, typed: Mapping[str, str]) -> tuple[Clinician | None, Sequence[Clinician]]:
    """Return the clinician who was chosen or is the only one found, else those to choose from."""
    chosen = typed["clinician"]
    if chosen.isdecimal() and len(chosen) < 19:
        return referrers.clinician(int(chosen)), []
    found = referrers.find_clinicians(typed["referrer"]) if typed["referrer"].strip() else []
    if chosen != new_form.NEW_CLINICIAN and found:
        return (found[0], []) if len(found) == 1 else (None, found)
    if chosen == new_form.NEW_CLINICIAN or typed["npi"]:
        new_form.check_new_clinician(read, typed["npi"])
    else:
        read.wrong["referrer"] = ["Clinician not found. Enter them below, with their NPI."]
    return None, []


def _sender(clean: Mapping[str, Any], clinician: Clinician | None) -> Sender:
    if clinician is not None:
        return Sender(clinician=clinician.name, npi=clinician.npi, practice=clinician.practice.name)
    return Sender(
        clinician=clean["clinician_name"],
        npi=clean["npi"],
        practice=clean["practice"],
        phone=clean["practice_phone"],
        fax=clean["practice_fax"],
    )


@pages.post("/look-alikes")
@access.require("work_leads")
def show_look_alikes() -> ResponseReturnValue:
    """Return the records that look like what has been typed so far, as a part of the form."""
    typed = new_form.typed_answers(request.form)
    read = new_form.read_new(typed, kind=CONTACT, today=clock.today())
    person = new_form.person(read.clean, clinic_zone=current.settings().clinic.time_zone)
    return _alike(look_alikes.look_alikes(person), request.form.get("contact", ""))


def _alike(alike: Sequence[look_alikes.LookAlike], chosen: str) -> str:
    audit.record("contact.look_alikes", detail={"ids": [one.contact.id for one in alike]})
    return render_template("console/people/_look_alikes.html", alike=alike, chosen=chosen)


def _form(
    kind: str,
    typed: Mapping[str, str],
    *,
    errors: Mapping[str, Sequence[str]] | None = None,
    alike: Sequence[look_alikes.LookAlike] = (),
    clinicians: Sequence[Clinician] = (),
    known: Contact | None = None,
    status: int = 200,
) -> Response:
    known = known or _known(request.form.get("contact", ""))
    if alike:
        audit.record("contact.look_alikes", detail={"ids": [one.contact.id for one in alike]})
    page = render_template(
        "console/people/new.html",
        what=kind,
        whats=new_form.KINDS,
        typed=typed or _filled(known),
        errors=errors or {},
        alike=alike,
        clinicians=clinicians,
        clinician_options=[(one.id, f"{one.name}, {one.practice.name}") for one in clinicians]
        + [(new_form.NEW_CLINICIAN, gettext("A clinician who is new to us"))],
        known=known,
        chosen=request.form.get("contact", ""),
        fax=_fax(),
        by_hand=[(one, SOURCES[one]) for one in rules.BY_HAND],
        heard_from=list(HEARD_FROM["en"].items()),
        languages=list(LANGUAGES.items()),
        states=list(STATES),
        services=list(SERVICES.items()),
    )
    return make_response(page, status)


def _filled(known: Contact | None) -> dict[str, str]:
    if known is None:
        return {}
    values = {name: getattr(known, name) for name in new_form.PERSON}
    return {name: value for name, value in values.items() if value}
