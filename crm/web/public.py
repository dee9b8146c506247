"""Pages and endpoints without sign-in."""

from flask import Blueprint

from crm.consent import public as consent
from crm.content import public as education
from crm.intake import public as contact
from crm.ops import metrics
from crm.portal import public_join
from crm.referrers import public as portal_door
from crm.staff import public as sign_in
from crm.tracking import public as webhooks
from crm.web import home, notices

FEATURES: list[Blueprint] = [
    sign_in.pages,
    consent.pages,
    contact.blueprint,
    portal_door.pages,
    public_join.pages,
    education.pages,
    webhooks.blueprint,
    metrics.blueprint,
    notices.pages,
    home.pages,
]  # one line per feature

MACHINES: frozenset[str] = frozenset({webhooks.blueprint.name})
"""Those among them that other systems post to."""

TOKEN_PAGES: frozenset[str] = frozenset({consent.pages.name})
"""Those among them whose address holds a secret of its own: a mail program posts there without cookie or form."""

CHECK_THEMSELVES: frozenset[str] = frozenset({contact.blueprint.name})
"""Those among them whose forms check their token themselves, so that a stale page loses nothing that was typed."""
