"""The page of one person: what every view of people needs, and what a role without identities sees instead of a name."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, make_response, render_template, request, url_for
from flask_babel import gettext

from crm.audit import service as audit
from crm.audit.models import StaffAct
from crm.consent import queries as consent
from crm.contacts import edit_form, editing
from crm.contacts import queries as people
from crm.contacts import service as contacts
from crm.contacts.models import Contact, ContactChange
from crm.core import clock
from crm.core.errors import Invalid
from crm.core.flashes import flash_with_undo
from crm.core.us_states import STATES
from crm.desk import lead_detail, timeline_labels
from crm.desk.lead_page import emails_to, has_permission, timeline_entries
from crm.desk.list_filters import KINDS, address
from crm.duplicates import service as duplicates
from crm.leads import queries as leads
from crm.leads.documents import service as documents
from crm.leads.rules import label
from crm.staff import redirects
from crm.staff import service as staff

LANGUAGES = {"en": "English", "es": "Spanish"}
PHONE_KINDS = {
    "mobile": "Mobile",
    "home": "Home",
    "work": "Work",
    "guardian": "Guardian",
    "other": "Other",
}
SOURCES_OF_CHANGE = {
    "edit": "edited",
    "wrote_otherwise": "as the person wrote",
    "correction": "corrected by the practice",
    "merge": "chosen at a merge",
    "split": "split into another record",
    "undo": "undone",
}
ZONES = {
    "America/Los_Angeles": "Pacific time",
    "America/Denver": "Mountain time",
    "America/Phoenix": "Arizona time",
    "America/Chicago": "Central time",
    "America/New_York": "Eastern time",
    "America/Anchorage": "Alaska time",
    "Pacific/Honolulu": "Hawaii time",
    "America/Puerto_Rico": "Atlantic time (Puerto Rico)",
}


def name_of(contact: Contact) -> str:
    """Return the name that the reader may see: the person's, or the number of the record."""
    if not has_permission("see_identity"):
        return str(gettext("Contact %(number)s", number=contact.id))
    return contact.called or str(gettext("No name"))


def present(contact_id: int) -> Contact:
    """Return a contact, or the record it was merged into. Raises NotFound."""
    contact = contacts.get(contact_id)
    if contact.merged_into_id is None:
        return contact
    return contacts.get(consent.merge_chain(contact_id)[-1])


def render_contact(contact: Contact, status: int = 200, **more: Any) -> Response:
    """Render the page of one person and record that it was viewed."""
    audit.record("contact.view", object_type="contact", object_id=contact.id, purpose="care")
    show = request.args.get("show", "")
    if show not in lead_detail.TIMELINE_VIEWS:
        raise Invalid({"show": ["Timeline view not found."]})
    only = lead_detail.TIMELINE_VIEWS[show][1]
    lines = people.timeline(contact_id=contact.id, cursor=request.args.get("cursor"), only=only)
    older = address("console.contacts.show", contact_id=contact.id, show=show, cursor=lines.next)
    may_edit = has_permission("manage_contacts")
    page = render_template(
        "console/people/contact.html",
        person=contact,
        name=name_of(contact),
        named=has_permission("see_identity"),
        leads=leads.leads_of(contact.id),
        entries=timeline_entries(lines.rows, clinical=has_permission("read_clinical")),
        older=older + "#timeline" if lines.next else None,
        show=show,
        shows={name: text for name, (text, _) in lead_detail.TIMELINE_VIEWS.items()},
        emails=emails_to(contact.id),
        evidence=_evidence(contact.id),
        tags=people.tags_of(contact.id),
        phones=editing.phones_of(contact.id),
        their_now=clock.now().astimezone(ZoneInfo(contact.time_zone)),
        same=duplicates.candidates(contact) if has_permission("see_identity") else [],
        merges=duplicates.merges_into(contact.id) if has_permission("see_identity") else [],
        **(lead_detail.differences(contact) if may_edit else {}),
        changes=_changes(contact.id) if may_edit else [],
        edit_form=more.pop("edit_form", None) or (_form(contact) if _wants_edit(may_edit) else None),
        back=redirects.safe_next_url(),
        in_crisis=leads.people_in_crisis(),
        kinds=KINDS,
        phone_kinds=PHONE_KINDS,
        languages=LANGUAGES,
        code_label=label,
        now=clock.now(),
        **_clinical(contact),
        **more,
    )
    return make_response(page, status)


def _wants_edit(may_edit: bool) -> bool:
    return may_edit and request.args.get("edit") == "1"


def _clinical(contact: Contact) -> dict[str, Any]:
    if not has_permission("read_clinical"):
        return {"clinical": False, "values": {}, "documents": None}
    return {
        "clinical": True,
        "values": editing.values_of(contact),
        "documents": documents.documents_of_contact(contact.id),
    }


def _form(contact: Contact) -> dict[str, Any]:
    """Return the form filled from the record."""
    numbers = [(one.kind, one.number) for one in editing.phones_of(contact.id)]
    values = {name: "" if value is None else str(value) for name, value in editing.values_of(contact).items()}
    return form_of(values, numbers)


def form_of(
    typed: Mapping[str, str], numbers: list[tuple[str, str]], errors: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what the form shows: the typed values, room for further numbers, and the choices."""
    zones = list(ZONES.items())
    if (chosen := typed.get("time_zone")) and chosen not in ZONES:
        zones.append((chosen, chosen.rpartition("/")[2].replace("_", " ")))
    return {
        "typed": typed,
        "numbers": [*numbers, ("mobile", "")][: edit_form.MOST_PHONES],
        "errors": errors or {},
        "phone_kinds": list(PHONE_KINDS.items()),
        "languages": list(LANGUAGES.items()),
        "states": list(STATES),
        "zones": zones,
        "clinical": has_permission("read_clinical"),
    }


def _evidence(contact_id: int) -> list[dict[str, Any]]:
    """Return the newest evidence of consent, for people to read."""
    return [
        {
            "at": one.at,
            "what": timeline_labels.consent_label(one.action, one.topic, source=one.source),
            "source": timeline_labels.CONSENT_SOURCES.get(one.source, label(one.source)),
            "wording": one.wording,
            "language": one.language,
        }
        for one in consent.consent_records(contact_id, limit=20)
    ]


def _changes(contact_id: int) -> list[dict[str, Any]]:
    found = editing.changes_of(contact_id)
    names = staff.names_of({one.actor for one in found})
    hidden = () if has_permission("read_clinical") else edit_form.CLINICAL
    return [_change(one, names) for one in found if one.field not in hidden]


def _change(one: ContactChange, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "at": one.at,
        "field": edit_form.LABELS.get(one.field, label(one.field)),
        "before": one.before,
        "after": one.after,
        "by": names.get(one.actor, one.actor),
        "how": SOURCES_OF_CHANGE.get(one.source, one.source),
    }


def flash_undo(text: str, *, contact: Contact, act: StaffAct) -> None:
    """Say what was done to a person, with a button that undoes it."""
    undo = url_for("console.people.undo", contact_id=contact.id, act_id=act.id)
    flash_with_undo(text, undo=undo)
