"""Telling staff what nobody would look for by themselves."""

from crm.core.db import transaction
from crm.ops import doctor
from jobs.context import app


def look() -> None:
    """Raise an alert when mail is stuck or the provider's events stay away, and close it when that is over."""
    with transaction():
        doctor.watch(app().settings)
