"""Roles and permissions. A view without a permission is open to no one."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])

ROLES: Mapping[str, str] = {
    "admin": "Administrator",
    "marketer": "Marketer",
    "front_desk": "Front desk",
    "clinician": "Clinician",
    "viewer": "Viewer",
}

_EVERYONE = frozenset(ROLES)


def _only(*roles: str) -> frozenset[str]:
    return frozenset(roles)


PERMISSIONS: Mapping[str, frozenset[str]] = {
    "use_console": _EVERYONE,  # own account, alerts, help
    "see_leads": _EVERYONE,  # lists and timelines: names, addresses, stages; nothing clinical
    "read_clinical": _only(
        "admin", "front_desk", "clinician"
    ),  # messages, notes, birth dates, referral details
    "open_in_emergency": _EVERYONE,  # clinical details of one person for an hour, with a reason and an alert
    "work_leads": _only("admin", "front_desk", "clinician"),  # stages, owner, notes, tasks
    "reopen_leads": _only("admin", "clinician"),  # from a final stage, with a reason
    "see_contacts": _only(
        "admin", "front_desk", "clinician", "marketer"
    ),  # the list of people: tags, consent
    "see_identity": _only("admin", "front_desk", "clinician"),  # on pages of people: names, addresses, phones
    "manage_contacts": _only("admin", "front_desk"),  # edit, merge, split
    "clinical_stop": _only("admin", "clinician", "front_desk"),  # nothing may be sent to this person
    "lift_stop": _only("admin", "clinician"),  # stopping must be quick; lifting needs clinical judgment
    "see_reports": _EVERYONE,  # counts and rates; nobody is named
    "see_sequences": _EVERYONE,
    "run_sequences": _only("admin", "marketer"),  # pause, resume, go live, send the next step now, take out
    "write_content": _only("admin", "marketer"),  # drafts; never an approval of one's own
    "see_content": _EVERYONE,
    "keep_authorizations": _only("admin", "front_desk", "clinician"),  # patients' written yes to being quoted
    "review_content": _only("admin", "marketer", "clinician"),  # comment; which approval: crm.content.rules
    "run_campaigns": _only("admin", "marketer"),
    "see_mail": _only("admin", "marketer", "front_desk"),
    "decide_mail": _only("admin", "marketer"),  # failed and uncertain mail
    "stop_sending": _only("admin"),
    "close_alerts": _only("admin", "marketer", "front_desk", "clinician"),
    "see_practices": _only(
        "admin", "front_desk", "clinician", "marketer"
    ),  # their numbers; notes, visits and tasks about them
    "manage_referrers": _only("admin", "front_desk"),
    "manage_staff": _only("admin"),
    "see_settings": _only("admin"),
    "change_settings": _only("admin"),  # the clinic's facts, API keys
    "read_audit": _only("admin"),
    "export_people": _only("admin"),
    "erase_people": _only("admin"),
}


def has_permission(roles: Iterable[str], permission: str) -> bool:
    """Tell whether these roles have this permission. Raises KeyError if the permission is unknown."""
    return not PERMISSIONS[permission].isdisjoint(roles)


def require(permission: str) -> Callable[[View], View]:
    """Open a console view to the roles that have `permission`. The check itself is in `crm.web.access_guard`."""
    if permission not in PERMISSIONS:
        raise KeyError(f"No permission is called {permission}.")

    def mark(view: View) -> View:
        view.permission = permission  # type: ignore[attr-defined]
        return view

    return mark
