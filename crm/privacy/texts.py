"""Words of the copy of a person's data: sections, fields, and the values that are codes."""

from collections.abc import Mapping
from typing import Any

from flask_babel import lazy_gettext as _

SECTIONS: Mapping[str, Any] = {
    "person": _("About you"),
    "phones": _("More phone numbers"),
    "requests": _("Your requests"),
    "appointments": _("Appointments"),
    "consent": _("What you agreed to, and what you ended"),
    "blocks": _("Blocks on email to your address"),
    "emails": _("Emails we sent you"),
    "tags": _("Tags"),
    "changes": _("Changes"),
    "referrals": _("Referrals"),
    "calls": _("Calls"),
    "tasks": _("Tasks"),
    "timeline": _("Timeline"),
    "practice_messages": _("Messages with the practice"),
    "files": _("Files"),
}

FIELDS: Mapping[str, Any] = {
    "first_name": _("First name"),
    "last_name": _("Last name"),
    "preferred_name": _("Preferred name"),
    "email": _("Email address"),
    "phone": _("Phone"),
    "number": _("Number"),
    "kind": _("Kind"),
    "language": _("Language"),
    "state": _("Status"),
    "reference": _("Reference"),
    "received": _("Received"),
    "open": _("Open"),
    "message": _("Message"),
    "starts_at": _("Starts"),
    "minutes": _("Minutes"),
    "at": _("When"),
    "topic": _("Topic"),
    "action": _("What happened"),
    "wording": _("Wording"),
    "source": _("How"),
    "scope": _("Applies to"),
    "reason": _("Reason"),
    "lifted_at": _("Ended"),
    "subject": _("Subject"),
}


def field(name: str) -> Any:
    """Return what a field is called; fields that only staff see have no translation."""
    return FIELDS.get(name) or name.replace("_", " ").capitalize()
