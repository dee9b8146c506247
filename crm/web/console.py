"""The staff console under /console: its frame, and the navigation that its features declare."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app, g, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import current_user
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.messages.limits import switches
from crm.reports import home_page
from crm.staff import access
from crm.staff.notifications import service as notifications
from crm.web import discovery


@dataclass(frozen=True, kw_only=True)
class Link:
    """A navigation entry with the pages it stands for."""

    entry: ConsoleEntry
    pages: ConsolePages

    @property
    def endpoint(self) -> str:
        return f"console.{self.pages.name}.{self.entry.view}"

    def is_current(self) -> bool:
        """Tell whether the request is for one of its pages; of two entries of a Blueprint, for its very view."""
        if len(self.pages.entries) > 1:
            return request.endpoint == self.endpoint
        here = _pages_here()
        return here is not None and self.pages.name in (here.name, here.part_of)


@cache
def sections() -> Mapping[str, Sequence[Link]]:
    """Return the links of each section of the navigation, in the order that their features declare."""
    links = [
        Link(entry=entry, pages=pages)
        for pages in discovery.find_blueprints("console", ConsolePages)
        for entry in pages.entries
    ]
    found: dict[str, list[Link]] = defaultdict(list)
    for link in sorted(links, key=lambda link: link.entry.order):
        found[link.entry.section or link.entry.label].append(link)
    return found


def init_console(app: Flask) -> None:
    """Add the console to the app."""
    console = Blueprint("console", __name__, url_prefix="/console")
    console.add_url_rule("/", "home", home)
    for pages in discovery.find_blueprints("console", ConsolePages):
        console.register_blueprint(pages)
    app.register_blueprint(console)
    app.before_request(_set_reader_zone)
    app.context_processor(_frame)


@access.require("use_console")
def home() -> ResponseReturnValue:
    """The first page after sign-in: what the reader's role needs to see."""
    return home_page.show()


def _set_reader_zone() -> None:
    if session.get("_user_id") and _signed_in():  # others are not looked up
        g.reader_zone = current_user.time_zone


def _signed_in() -> bool:
    return bool(current_user and current_user.is_authenticated)


def _may(permission: str) -> bool:
    return _signed_in() and access.has_permission((role.name for role in current_user.roles), permission)


def _opens(address: str) -> bool:
    """Tell whether the reader's role opens an address of ours; without it the page shows text, no link."""
    adapter = current_app.url_map.bind("")
    try:
        endpoint, _ = adapter.match(urlsplit(address).path, "GET")
    except (HTTPException, RequestRedirect):
        return False
    permission = getattr(current_app.view_functions[endpoint], "permission", None)
    return permission is None or _may(permission)


def _frame() -> dict[str, Any]:
    """Return what the frame of a page shows. Only console pages pay for its queries."""
    shown: dict[str, Any] = {"may": _may, "opens": _opens}
    if not _signed_in() or not f"{request.path}/".startswith("/console/"):
        return shown
    open_alerts, unread = notifications.bell_counts(current_user.id)
    return shown | {
        "nav": _navigation(),
        "section_tabs": _tabs(),
        "me": {"name": current_user.name, "role": _role(), "id": current_user.id, "demo": current_user.demo},
        "home_href": url_for("console.home"),
        "search_href": url_for("console.leads.search"),
        "account_href": url_for("console.staff.account"),
        "sign_out_href": url_for("security.logout"),
        "alerts": {"href": url_for("console.staff.alerts"), "open": open_alerts},
        "bell": {"href": url_for("console.notifications.index"), "unread": unread},
        "notices": _notices(),
    }


def _pages_here() -> ConsolePages | None:
    pages = current_app.blueprints.get(request.blueprint or "")
    return pages if isinstance(pages, ConsolePages) else None


def _navigation() -> list[dict[str, Any]]:
    shown = []
    for label, links in sections().items():
        allowed = [link for link in links if _may(link.entry.permission)]
        if allowed:
            shown.append(
                {
                    "label": gettext(label),
                    "href": url_for(allowed[0].endpoint),
                    "current": any(link.is_current() for link in links),
                    "count": sum(_count(link) for link in allowed),
                    "counted": next(
                        (gettext(link.entry.counted) for link in allowed if link.entry.count), ""
                    ),
                }
            )
    return shown


def _tabs() -> list[dict[str, Any]]:
    """Return the links of the current section, where there are several."""
    for links in sections().values():
        allowed = [link for link in links if _may(link.entry.permission)]
        if len(allowed) > 1 and any(link.is_current() for link in allowed):
            return [
                {
                    "label": gettext(link.entry.label),
                    "href": url_for(link.endpoint),
                    "current": link.is_current(),
                    "count": _count(link) or None,
                }
                for link in allowed
            ]
    return []


def _count(link: Link) -> int:
    """Return the number beside a link; the navigation and the tabs of a page ask for it once."""
    if link.entry.count is None:
        return 0
    known: dict[str, int] = g.setdefault("counts_of_links", {})
    if link.endpoint not in known:
        known[link.endpoint] = link.entry.count()
    return known[link.endpoint]


def _role() -> str:
    return ", ".join(access.ROLES.get(role.name, role.name) for role in current_user.roles)


def _notices() -> list[dict[str, Any]]:
    """Return what concerns every page: that all sending is stopped."""
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
