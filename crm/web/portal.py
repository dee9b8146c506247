"""The referrers' portal under /refer."""

from flask import Blueprint

FEATURES: list[Blueprint] = []  # one line per feature that has a portal.py
