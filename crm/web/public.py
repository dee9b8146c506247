"""Pages and endpoints without sign-in."""

from flask import Blueprint

FEATURES: list[Blueprint] = []  # one line per feature that has a public.py
