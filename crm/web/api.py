"""The JSON API under /api/v1."""

from flask import Blueprint

FEATURES: list[Blueprint] = []  # one line per feature that has an api.py
