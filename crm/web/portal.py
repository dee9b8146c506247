"""The referrers' portal under /refer."""

from flask import Blueprint

from crm.leads import portal as referrals

FEATURES: list[Blueprint] = [referrals.pages]  # one line per feature that has a portal.py
