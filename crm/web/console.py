"""The staff console under /console."""

from flask import Blueprint

FEATURES: list[Blueprint] = []  # one line per feature that has a console.py
