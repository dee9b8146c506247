"""Shared context of the content pages: labels of states and kinds, and the signed-in user."""

from typing import Any

from flask_security import current_user

from crm.core import clock

IN_WORDS = {"en": "English", "es": "Spanish"}
STATES = {
    "draft": "Draft",
    "in_review": "In review",
    "approved": "Approved",
    "expiring": "Expires within 30 days",
    "expired": "Expired",
    "void": "Needs re-approval",
    "outdated": "Block changed",
    "missing": "Never approved",
    "superseded": "Replaced",
    "retired": "Retired",
}
KINDS = {"email": "Email", "transactional": "Service email", "block": "Block", "page": "Page"}


def actor() -> str:
    """Return who is at the console, as the log names them."""
    return f"staff:{current_user.id}"


def roles() -> list[str]:
    """Return the roles of who is at the console."""
    return [role.name for role in current_user.roles]


def shared() -> dict[str, Any]:
    """Return what all these pages say things with."""
    return {"states": STATES, "languages": IN_WORDS, "kinds": KINDS, "now": clock.now()}
