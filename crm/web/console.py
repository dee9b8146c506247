"""The staff console under /console: its features, its navigation, and what every page of it shows."""

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import current_user
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from crm.campaigns import console as campaigns
from crm.content import console as content
from crm.content.editor import console as drafts
from crm.content.testimonials import console as authorizations
from crm.desk import console as leads
from crm.desk import console_inbox, console_lists, console_work, worklists
from crm.explain import console as why
from crm.exports import console as exports
from crm.imports import console as imports
from crm.messages import console as mail
from crm.messages.limits import switches
from crm.portal import console as referrals
from crm.privacy import console as privacy
from crm.referrers import console as referrers
from crm.sequences import console as sequences
from crm.staff import access, alerts
from crm.staff import console as staff
from crm.staff import console_audit as audit
from crm.web import timeline_sources

FEATURES: list[Blueprint] = [  # one line per feature that has a console.py
    leads.pages,
    console_work.pages,
    console_inbox.pages,
    console_lists.pages,
    referrers.pages,
    referrals.pages,
    sequences.pages,
    campaigns.pages,
    why.pages,
    content.pages,
    drafts.pages,
    authorizations.pages,
    mail.pages,
    staff.pages,
    imports.pages,
    exports.pages,
    audit.pages,
    privacy.pages,
]

Entry = tuple[str, str, str]  # what it is called, where it leads, who may see it
NAV: list[tuple[str, list[Entry]]] = [  # at most eight; those with several pages show them as tabs
    ("Leads", [("Leads", "console.leads.index", "see_leads")]),
    ("Referrers", [("Referrers", "console.referrers.index", "manage_referrers")]),
    ("Sequences", [("Sequences", "console.sequences.index", "see_sequences")]),
    (
        "Content",
        [
            ("Emails and blocks", "console.content.index", "see_content"),
            ("Patients’ words", "console.authorizations.index", "see_content"),
        ],
    ),
    ("Broadcasts", [("Broadcasts", "console.campaigns.index", "run_campaigns")]),
    ("Mail", [("Mail", "console.mail.index", "see_mail")]),
    (
        "Import and export",
        [
            ("Import", "console.imports.index", "manage_contacts"),
            ("Export", "console.exports.index", "export_people"),
        ],
    ),
    (
        "Settings",
        [
            ("Settings", "console.staff.settings", "see_settings"),
            ("Staff", "console.staff.index", "manage_staff"),
            ("Audit log", "console.audit.index", "read_audit"),
        ],
    ),
]

PARTS = {  # blueprints that belong to a larger section
    "console.drafts": "console.content",
    "console.work": "console.leads",
    "console.inbox": "console.leads",
    "console.lists": "console.leads",
}


def mount(app: Flask) -> None:
    """Hang the console on `app`."""
    console = Blueprint("console", __name__, url_prefix="/console")
    console.add_url_rule("/", "home", home)
    for feature in FEATURES:
        console.register_blueprint(feature)
    app.register_blueprint(console)
    app.before_request(_reader)
    timeline_sources.register_sources()
    app.context_processor(_surroundings)


@access.require("use_console")
def home() -> ResponseReturnValue:
    """The first page after signing in."""
    works_leads = any(role.name == "front_desk" for role in current_user.roles)
    return redirect(url_for("console.work.index" if works_leads else "console.leads.index"))


def _reader() -> None:
    if _signed_in():
        g.reader_zone = current_user.time_zone


def _signed_in() -> bool:
    return bool(current_user and current_user.is_authenticated)


def _may(permission: str) -> bool:
    return _signed_in() and access.has_permission((role.name for role in current_user.roles), permission)


def _opens(address: str) -> bool:
    """Tell whether the reader's role opens an address of ours: what it does not open is shown without a link."""
    adapter = current_app.url_map.bind("")
    try:
        endpoint, _ = adapter.match(urlsplit(address).path, "GET")
    except (HTTPException, RequestRedirect):
        return False
    permission = getattr(current_app.view_functions[endpoint], "permission", None)
    return permission is None or _may(permission)


def _surroundings() -> dict[str, Any]:
    """What the frame around a page needs; only console pages pay for the two look-ups."""
    shown: dict[str, Any] = {"may": _may, "opens": _opens}
    if not _signed_in() or request.blueprint is None or request.blueprint.split(".")[0] != "console":
        return shown
    return shown | {
        "nav": _nav(),
        "section_tabs": _tabs(),
        "my_tasks": _my_tasks() if _may("work_leads") else 0,
        "me": {"name": current_user.name, "role": _role(), "id": current_user.id},
        "home_href": url_for("console.home"),
        "search_href": url_for("console.leads.search"),
        "account_href": url_for("console.staff.account"),
        "sign_out_href": url_for("security.logout"),
        "alerts": {"href": url_for("console.staff.alerts"), "open": alerts.count_kinds()},
        "standing": _standing(),
    }


def _is_here(endpoint: str) -> bool:
    section = endpoint.rsplit(".", 1)[0]
    if section == "console.staff":  # one blueprint, several entries
        return request.endpoint == endpoint
    here = (request.endpoint or "").rsplit(".", 1)[0]
    return PARTS.get(here, here) == section


def _nav() -> list[dict[str, Any]]:
    shown = []
    for label, entries in NAV:
        allowed = [entry for entry in entries if _may(entry[2])]
        if allowed:
            href, here = url_for(allowed[0][1]), any(_is_here(entry[1]) for entry in entries)
            count = _my_tasks() if label == "Leads" and _may("work_leads") else 0
            shown.append({"label": gettext(label), "href": href, "current": here, "count": count})
    return shown


def _tabs() -> list[dict[str, Any]]:
    """The pages beside this one in its section, where there are several."""
    for _, entries in NAV:
        allowed = [entry for entry in entries if _may(entry[2])]
        if len(allowed) > 1 and any(_is_here(entry[1]) for entry in allowed):
            return [
                {"label": gettext(label), "href": url_for(endpoint), "current": _is_here(endpoint)}
                for label, endpoint, _ in allowed
            ]
    return []


def _my_tasks() -> int:
    if "my_tasks" not in g:
        g.my_tasks = worklists.waiting_for(current_user.id)
    found: int = g.my_tasks
    return found


def _role() -> str:
    return ", ".join(access.ROLES.get(role.name, role.name) for role in current_user.roles)


def _standing() -> list[dict[str, Any]]:
    """What concerns every page: all sending is stopped."""
    row = switches.get()
    if row.stopped_at is None:
        return []
    return [
        {
            "kind": "danger",
            "text": gettext("All sending is stopped: %(reason)s", reason=row.stop_reason or ""),
            "href": url_for("console.mail.index") if _may("see_mail") else None,
            "link": gettext("See mail"),
        }
    ]
