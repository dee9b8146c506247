"""Pages and endpoints without sign-in."""

from flask import Blueprint

from crm.consent import public as consent
from crm.leads import public as contact
from crm.staff import public as sign_in
from crm.tracking import public as webhooks

FEATURES: list[Blueprint] = [  # one line per feature that has a public.py
    sign_in.pages,
    consent.pages,
    contact.blueprint,
    webhooks.blueprint,
]

TOKEN_PAGES: frozenset[str] = frozenset({"consent"})
"""Those among them that are opened by a link which is itself the key: there is no cookie to protect."""

MACHINES: frozenset[str] = frozenset({"webhooks"})
"""Those among them that other systems post to, with signatures of their own."""

CHECK_THEMSELVES: frozenset[str] = frozenset({"contact"})
"""Those among them whose forms check their token themselves, so that a stale page loses nothing that was typed."""
