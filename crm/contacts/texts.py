"""Sentences for what is wrong with a value, the same for every way in: form, portal, upload, import."""

from flask_babel import gettext

from crm.contacts.rules import REASONS, Problem


def sentence(problem: Problem) -> str:
    """Return what is wrong with a value, and where, in the reader's language."""
    return str(gettext(REASONS[problem.code])).format(**problem.shown())
