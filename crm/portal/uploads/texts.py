"""What the pages for a practice's file of referrals say, in the reader's language."""

from collections.abc import Mapping
from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _

from crm.contacts.rules import Problem
from crm.core.csv_files import BadFile
from crm.intake import file_texts
from crm.portal import texts as portal_texts
from crm.portal.texts import FIELDS
from crm.portal.uploads.rules import MOST_BYTES, MOST_ROWS

_ROW: Mapping[str, Any] = {
    "double": _("Your practice may have sent this patient before, or the file has them twice."),
    "gone": _("The file was deleted. Upload it again."),
    "required:clinician_name": _("Enter the name of the clinician, or choose one for all rows."),
    "required:npi": _("Enter the NPI of the clinician."),
}


def file_problem(error: BadFile) -> str:
    """Return what is wrong with a file."""
    return file_texts.file_problem(error, most_bytes=MOST_BYTES, most_rows=MOST_ROWS)


def mapping_problem(code: str, field: str) -> str:
    """Return what is wrong with the chosen columns."""
    if code == "twice":
        return str(gettext("Two columns are chosen as “%(name)s”.", name=FIELDS[field]))
    if code == "missing":
        return str(gettext("Choose the column for “%(name)s”.", name=FIELDS[field]))
    return str(gettext("Choose what each column is from the list."))


def row_problem(reason: str) -> str:
    """Return what is wrong with a row, in words: `reason` has its problems as text, separated by spaces."""
    return " ".join(map(_problem, reason.split()))


def row_without(reason: str) -> str:
    """Return what a row goes in without, and why."""
    return file_texts.without(map(_problem, reason.split()))


def _problem(text: str) -> str:
    name, problem = Problem.from_text(text)
    words = (
        _ROW.get(f"{problem.code}:{name}") or _ROW.get(problem.code) or portal_texts.problem(problem, name)
    )
    return f"{FIELDS[name]}: {words}" if name in FIELDS else str(words)
