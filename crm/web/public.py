"""Pages and endpoints without sign-in."""

from flask import Blueprint

from crm.consent import public as consent

FEATURES: list[Blueprint] = [consent.pages]  # one line per feature that has a public.py
MACHINES: frozenset[str] = frozenset()  # names of those among them that other systems post to
