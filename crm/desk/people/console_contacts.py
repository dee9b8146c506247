"""Contacts for staff: the list with filters, saved views and tags for many at once; the page of one person."""

from datetime import date
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_security import current_user

from crm.audit import acts
from crm.audit import service as audit
from crm.contacts import service as contacts
from crm.core import clock
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid
from crm.core.flashes import flash_with_undo
from crm.core.us_states import STATES
from crm.desk import saved_filters, timeline_labels
from crm.desk.lead_page import has_permission
from crm.desk.list_filters import SOURCES, address
from crm.desk.people import contact_search
from crm.desk.people.contact_page import LANGUAGES, name_of, present, render_contact
from crm.desk.people.contact_search import ContactFilter
from crm.staff import access, redirects

pages = ConsolePages(
    "contacts",
    __name__,
    url_prefix="/contacts",
    entries=[ConsoleEntry(label="Contacts", permission="see_contacts", order=15, section="People")],
)

MOST = 500  # contacts that one action tags
CONSENTS = {topic: words.capitalize() for topic, words in timeline_labels.TOPICS.items()} | {
    contact_search.OPTED_OUT: "Opted out",
    contact_search.NEVER_ASKED: "No decision yet",
}
LEADS = {"open": "Open lead", "ended": "Closed leads only", "none": "No lead"}


@pages.get("")
@access.require("see_contacts")
def index() -> ResponseReturnValue:
    """List contacts, newest first."""
    asked = _asked(request.args)
    wanted = _filter(asked)
    shown = contact_search.find_contacts(wanted, cursor=request.args.get("cursor"))
    ids = [row.contact.id for row in shown.rows]
    audit.record("contact.list", detail={"ids": ids, "filters": _codes(asked)})
    return render_template(
        "console/people/contacts.html",
        rows=shown.rows,
        asked=asked,
        tags=_tags(asked),
        older=address(".index", **asked, cursor=shown.next) if shown.next else None,
        newest=address(".index", **asked) if request.args.get("cursor") else None,
        looked_at=shown.looked_at,
        sorts=contact_search.SORTS if has_permission("see_identity") else _unnamed_sorts(),
        here=request.full_path.rstrip("?"),
        name_of=name_of,
        named=has_permission("see_identity"),
        most=MOST,
        now=clock.now(),
        **_choices(asked),
    )


def _asked(given: Any) -> dict[str, str]:
    return {name: given.get(name, "").strip()[:100] for name in contact_search.LABELS}


def _unnamed_sorts() -> dict[str, str]:
    return {name: text for name, text in contact_search.SORTS.items() if name != "name"}


def _filter(asked: dict[str, str]) -> ContactFilter:
    """Return the filters of an address. Who sees no names cannot search or sort by them. Raises Invalid."""
    named = has_permission("see_identity")
    sort = asked["sort"] or "newest"
    days = {name: _day(asked[name], name) for name in ("added_from", "added_to")}
    return ContactFilter(
        q=asked["q"] if named else "",
        consent=asked["consent"],
        tag=asked["tag"].lower(),
        language=asked["language"],
        state=asked["state"],
        source=asked["source"],
        leads=asked["leads"],
        sort=sort if named or sort != "name" else "newest",
        **days,
    )


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Invalid({name: ["Enter a day such as 2026-12-24."]}) from error


def _codes(asked: dict[str, str]) -> dict[str, str]:
    """Return the filters for the audit log, without the search words, which may be a name."""
    return {name: value if name != "q" else "*" for name, value in asked.items() if value}


def _choices(asked: dict[str, str]) -> dict[str, Any]:
    return {
        "consents": list(CONSENTS.items()),
        "languages": list(LANGUAGES.items()),
        "states": list(STATES),
        "sources": list(SOURCES.items()),
        "lead_states": list(LEADS.items()),
        "topics": timeline_labels.TOPICS,
        "saved": saved_filters.filters_of(current_user.id, of="contacts"),
        "chosen": {name: asked[name] for name in saved_filters.KEPT["contacts"] if asked[name]},
    }


def _tags(asked: dict[str, str]) -> list[dict[str, str]]:
    words: dict[str, dict[str, str]] = {
        "consent": CONSENTS,
        "language": LANGUAGES,
        "source": SOURCES,
        "leads": LEADS,
        "state": dict(STATES),
        "sort": contact_search.SORTS,
    }
    return [
        {
            "label": contact_search.LABELS[name],
            "value": words.get(name, {}).get(value, value),
            "href": address(".index", **(asked | {name: ""})),
        }
        for name, value in asked.items()
        if value
    ]


@pages.post("/filters")
@access.require("see_contacts")
def save_filter() -> ResponseReturnValue:
    """Keep the filters in force under a name."""
    asked = _asked(request.form)
    kept = saved_filters.save_filter(
        user_id=current_user.id,
        name=request.form.get("name", ""),
        shared=request.form.get("shared") == "yes",
        filters=asked,
        of="contacts",
    )
    flash(gettext("Saved as “%(name)s”.", name=kept.name), "success")
    return redirect(address(".index", **asked))


@pages.post("/filters/<int:filter_id>/remove")
@access.require("see_contacts")
def remove_filter(filter_id: int) -> ResponseReturnValue:
    """Remove one of one's own filters."""
    saved_filters.remove_filter(filter_id=filter_id, user_id=current_user.id)
    flash(gettext("Filter removed."), "success")
    return redirect(url_for(".index"))


@pages.post("/tags")
@access.require("work_leads")
def tag_many() -> ResponseReturnValue:
    """Add a tag to the picked contacts, or to all that match the filters; or remove it."""
    if request.form.get("all") == "yes":
        asked = _asked(request.form) | {"tag": ""}  # the form's tag is the one to add
        ids = contact_search.find_contact_ids(_filter(asked), limit=MOST + 1)
    else:
        ids = [int(text) for text in request.form.getlist("pick") if text.isdecimal() and len(text) < 19]
    if not ids:
        raise Invalid({"pick": ["Select contacts first."]})
    if len(ids) > MOST:
        raise Invalid({"pick": [f"Select at most {MOST} contacts, for example by a filter."]})
    change = contacts.remove_tag if request.form.get("do") == "remove" else contacts.add_tag
    with acts.begin("tag_contacts") as act:
        changed = sum(change(contact_id=one, tag=request.form.get("tag", "")) for one in ids)
    text = ngettext("%(num)s contact changed.", "%(num)s contacts changed.", changed)
    undo = url_for(".undo_tags", act_id=act.id, back=redirects.safe_next_url())
    flash_with_undo(text, undo=undo)
    return redirect(redirects.safe_next_url() or url_for(".index"))


@pages.post("/tags/undo/<int:act_id>")
@access.require("work_leads")
def undo_tags(act_id: int) -> ResponseReturnValue:
    """Undo the tagging of many contacts."""
    undone = acts.undo(act_id, kinds={"tag_contacts"})
    for change in undone.changes:
        contacts.record_activity(
            contact_id=change.row_key["contact_id"], kind="act_undone", detail={"what": "tags"}
        )
    flash(gettext("Undone."), "success")
    return redirect(redirects.safe_next_url() or url_for(".index"))


@pages.get("/<int:contact_id>")
@access.require("see_contacts")
def show(contact_id: int) -> ResponseReturnValue:
    """Show one person with all their leads, consent, emails and timeline."""
    contact = present(contact_id)
    if contact.id != contact_id:
        return redirect(url_for(".show", contact_id=contact.id))
    return render_contact(contact)
