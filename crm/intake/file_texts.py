"""What is wrong with a file of people and with its rows: the same words for imports by staff and uploads by practices."""

from collections.abc import Iterable, Mapping
from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _

from crm.contacts.rules import Problem
from crm.contacts.texts import sentence
from crm.core.csv_files import MOST_COLUMNS, BadFile

_FILE: Mapping[str, Any] = {
    "required": _("Choose a CSV file."),
    "empty": _("The file is empty."),
    "big": _("The file is larger than %(limit)s MB. Split it and send the parts one after the other."),
    "archive": _(
        "This is a spreadsheet or an archive, not a text file. Open it, save it as “CSV UTF-8”, and choose that file."
    ),
    "not_text": _("This is not a text file. Save the table as “CSV UTF-8” and choose that file."),
    "cells": _("The rows cannot be separated. A quotation mark may be missing its partner."),
    "columns": _("The file has %(count)s columns; at most %(limit)s can be read."),
    "no_rows": _("The file holds column names and no rows."),
    "rows": _(
        "The file has %(count)s rows; at most %(limit)s can be sent at once. Split it and send the parts one after the other."
    ),
}  # fmt: skip


def file_problem(error: BadFile, *, most_bytes: int, most_rows: int = 0) -> str:
    """Return why a file cannot be read, and what to do; the limits are those of this way in."""
    limits = {"big": most_bytes // (1024 * 1024), "columns": MOST_COLUMNS, "rows": most_rows}
    return str(_FILE[error.code]) % {"count": f"{error.count:,}", "limit": limits.get(error.code, 0)}


def heading() -> list[str]:
    """Return the names of the first two columns of a file of problems."""
    return [gettext("Line"), gettext("Problem")]


def without(sentences: Iterable[str]) -> str:
    """Return that a row goes in without some of its cells, and why."""
    return " ".join([sentence(Problem("left_out")), *sentences])
