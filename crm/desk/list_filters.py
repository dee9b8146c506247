"""Filters of the lead list: their labels, what a form submits, and the address that keeps them."""

from collections.abc import Collection
from typing import Any

from flask import url_for
from flask_security import current_user

from crm.desk.search import LeadFilter
from crm.leads import rules
from crm.staff import access

LABELS = {
    "q": "Search",
    "kind": "Kind",
    "stage": "Stage",
    "owner": "Owner",
    "state": "Status",
    "source": "Source",
}
KINDS = {"contact_request": "Contact request", "referral": "Referral"}
STATES = {"open": "Open", "overdue": "Overdue", "ended": "Closed"}
SOURCES = {
    "form": "Contact form",
    "api": "Other system",
    "portal": "Referrer portal",
    "import": "Import",
    "phone": "Phone",
    "walk_in": "Walk-in",
    "fax": "Fax",
    "event": "Event",
}


def address(endpoint: str, **arguments: Any) -> str:
    """Return the address of an endpoint without empty arguments."""
    return url_for(endpoint, **{name: value for name, value in arguments.items() if value not in (None, "")})


def filter_from(asked: dict[str, str]) -> LeadFilter:
    """Return the filters that a form or an address names."""
    owner = {"me": current_user.id, "nobody": 0}.get(asked["owner"])
    if owner is None and asked["owner"].isdecimal() and len(asked["owner"]) < 19:
        owner = int(asked["owner"])
    return LeadFilter(
        q=asked["q"],
        kind=asked["kind"],
        stage=asked["stage"],
        owner=owner,
        state=asked["state"],
        source=asked["source"],
        named=access.has_permission((role.name for role in current_user.roles), "see_identity"),
    )


def options(codes: Collection[str]) -> list[tuple[str, str]]:
    """Return codes with their labels for a select, in order."""
    return [(code, rules.label(code).capitalize()) for code in sorted(codes)]
