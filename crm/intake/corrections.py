"""Corrections of a referral by its practice: what is applied at once, and what waits for staff.

What a practice said of its referral is its own. The record of the person is the clinic's: a value is replaced only in
a record that this referral made, while no other lead of the person is there and the record still holds what the
practice sent. Any other value is noted as written otherwise, and staff take it over with one click.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, select

from crm.audit import service as audit
from crm.contacts import editing
from crm.contacts import rules as people
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.contacts.rules import Person
from crm.core import current
from crm.core.db import db
from crm.core.errors import Conflict
from crm.intake.service import as_compact, note_otherwise, referral_index, without_our_address
from crm.leads import service as leads
from crm.leads.models import Lead, Referral
from crm.referrers.models import PortalPerson

PERSON = ("first_name", "last_name", "birth_date", "phone", "email", "language", "state")
"""Fields of the form that belong to the record of the person."""

CLOSED = "This referral is closed. Write to us instead."
OUTDATED = "This referral was corrected in the meantime. Check it and correct it again."


class NumberTaken(Conflict):
    """The external id belongs to another referral of the practice."""


@dataclass(frozen=True, kw_only=True)
class SentForm:
    """A referral as its practice last sent it: field -> text.

    `contact_id`: the record that this referral made, None if the person was known; `number` counts corrections.
    """

    answers: Mapping[str, str]
    contact_id: int | None
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class Correction:
    """The corrected values of a referral. `answers`: the same as texts, as `SentForm` has them."""

    answers: Mapping[str, str]
    person: Person
    health: Mapping[str, Any]
    guardian: Mapping[str, Any] | None
    service: str
    contact_person: str | None
    external_id: str | None


def sent_form(referral: Referral) -> SentForm | None:
    """Return what the practice sent; None for a referral that came another way, or was erased."""
    return SentForm(**json.loads(referral.sent)) if referral.sent else None


def keep_sent(referral: Referral, form: SentForm) -> None:
    """Keep what the practice sent, encrypted."""
    referral.sent = as_compact(vars(form))


def correct(
    *, lead_id: int, number: int, correction: Correction, act_id: int | None = None
) -> tuple[list[str], list[str]]:
    """Correct an open referral that was corrected `number` times; return what was changed, and what waits for staff.

    Raises NumberTaken, and Conflict if it is closed or was corrected in the meantime.
    """
    lead, sent = _locked(lead_id, number)
    changed = [name for name, text in correction.answers.items() if sent.answers.get(name, "") != text]
    if not changed:
        return [], []
    waiting = _correct_person(lead, sent, correction, changed)
    note_otherwise(contact_id=lead.contact_id, lead_id=lead.id, said=waiting, act_id=act_id)
    _correct_referral(lead, correction, urgent="urgency" in changed)
    keep_sent(
        _referral(lead), SentForm(answers=correction.answers, contact_id=sent.contact_id, number=number + 1)
    )
    detail = {"fields": changed, "waiting": list(waiting)}
    contacts.record_activity(
        contact_id=lead.contact_id,
        lead_id=lead.id,
        kind="referral_corrected",
        text="\n".join(_line(name, sent.answers, correction.answers) for name in changed),
        detail=detail,
    )
    audit.record("referral.correct", object_type="lead", object_id=lead.id, detail=detail)
    db.session.flush()
    return changed, list(waiting)


def _locked(lead_id: int, number: int) -> tuple[Lead, SentForm]:
    """Lock the person, then the referral, as an intake does."""
    contact_id = leads.get(lead_id).contact_id
    db.session.get(Contact, contact_id, with_for_update=True, populate_existing=True)
    lead = db.session.get_one(Lead, lead_id, with_for_update={"of": Lead}, populate_existing=True)
    db.session.refresh(_referral(lead))
    sent = sent_form(_referral(lead))
    if lead.closed_at is not None or sent is None:
        raise Conflict(CLOSED)
    if sent.number != number or lead.contact_id != contact_id:
        raise Conflict(OUTDATED)
    return lead, sent


def _referral(lead: Lead) -> Referral:
    if lead.referral is None:
        raise Conflict(CLOSED)
    return lead.referral


def _line(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    label = name.replace("_", " ").capitalize()
    return f"{label}: {before.get(name) or 'nothing'} → {after[name] or 'nothing'}"


def _correct_person(lead: Lead, sent: SentForm, correction: Correction, changed: list[str]) -> dict[str, Any]:
    """Edit the record where it is the practice's to correct; return the values that wait for staff."""
    person, held = without_our_address(correction.person), editing.values_of(lead.contact)
    names = [name for name in PERSON if name in changed and getattr(person, name) != held[name]]
    free = _free(names, held, sent) if _is_own(lead, sent) else []
    if free:
        _edit(lead.contact, person, free, held)
    return {name: getattr(person, name) for name in names if name not in free}


def _edit(contact: Contact, person: Person, names: list[str], held: Mapping[str, Any]) -> None:
    values = {name: getattr(person, name) for name in names}
    if "state" in names and held["time_zone"] == _usual_zone(held["state"]):
        values["time_zone"] = person.time_zone
    editing.edit(contact_id=contact.id, version=contact.version, values=values, source="correction")


def _free(names: list[str], held: Mapping[str, Any], sent: SentForm) -> list[str]:
    """Return the fields in which the record holds what the practice sent."""
    return [name for name in names if _text(held[name]) == sent.answers.get(name, "")]


def _usual_zone(state: str | None) -> str:
    return people.zone_for(given=None, state=state, clinic=current.settings().clinic.time_zone)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _is_own(lead: Lead, sent: SentForm) -> bool:
    """Return whether the record of the person is only what this referral made."""
    if sent.contact_id != lead.contact_id:
        return False
    others = exists().where(Lead.contact_id == lead.contact_id, Lead.id != lead.id)
    account = exists().where(PortalPerson.contact_id == lead.contact_id)
    return not db.session.scalar(select(others | account))


def _correct_referral(lead: Lead, correction: Correction, *, urgent: bool) -> None:
    referral = _referral(lead)
    if correction.external_id != referral.external_id:
        _refuse_taken(referral, correction.external_id)
    referral.health = as_compact(correction.health)
    referral.guardian = as_compact(correction.guardian) if correction.guardian else None
    referral.service = correction.service
    referral.contact_person = correction.contact_person
    referral.external_id = correction.external_id
    lead.content_index = referral_index(referral.practice_id, correction.health)
    db.session.flush()
    if urgent and correction.answers["urgency"] == "urgent":
        leads.make_urgent(lead_id=lead.id)


def _refuse_taken(referral: Referral, external_id: str | None) -> None:
    rows = select(Referral.lead_id).where(
        Referral.practice_id == referral.practice_id, Referral.external_id == external_id
    )
    if external_id and db.session.scalar(rows.limit(1)) is not None:
        raise NumberTaken("This reference number belongs to another referral.")
