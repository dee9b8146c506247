"""Pages and endpoints without sign-in."""

from flask import Blueprint

from crm.consent import public as consent
from crm.leads import public as contact
from crm.staff import public as sign_in

FEATURES: list[Blueprint] = [sign_in.pages, consent.pages, contact.blueprint]  # one line per feature
MACHINES: frozenset[str] = frozenset({"webhooks"})  # names of those among them that other systems post to

CHECK_THEMSELVES: frozenset[str] = frozenset({"contact"})
"""Those among them whose forms check their token themselves, so that a stale page loses nothing that was typed."""
