"""What the import pages say: kinds of file, states, and why a file cannot be read."""

from collections.abc import Mapping, Sequence

from crm.core.csv_files import MOST_COLUMNS, BadFile
from crm.imports.models import ImportState
from crm.imports.rules import CONTACTS, LEADS

KINDS: Mapping[str, str] = {
    CONTACTS: "Contacts only",
    LEADS: "Leads: each row is a person who asked to hear from us",
}
STATES: Mapping[ImportState, str] = {
    ImportState.UPLOADED: "Uploaded",
    ImportState.CHECKING: "Checking",
    ImportState.CHECKED: "Checked",
    ImportState.IMPORTING: "Importing",
    ImportState.DONE: "Imported",
    ImportState.UNDOING: "Undoing",
    ImportState.UNDONE: "Undone",
    ImportState.FAILED: "Not readable",
}
_FILE: Mapping[str, str] = {
    "required": "Choose a CSV file.",
    "empty": "The file is empty.",
    "big": "The file is larger than 50 MB. Split it and import the parts one after the other.",
    "archive": "This is a spreadsheet or an archive, not a text file. Save it as “CSV UTF-8” and choose that file.",
    "not_text": "The file is not a text file. Save the table as “CSV UTF-8” and choose that file.",
    "cells": "The rows cannot be separated. A quotation mark may be missing its partner.",
    "columns": f"The file has %(count)s columns; at most {MOST_COLUMNS} can be read.",
    "no_rows": "The file holds column names and no rows.",
}


def file_problem(error: BadFile) -> str:
    """Return why a file cannot be read, and what to do."""
    return _FILE[error.code].replace("%(count)s", f"{error.count:,}")


def refused(reasons: Sequence[str]) -> str:
    """Return why a row was not imported."""
    return " ".join(reasons)


def duplicate(repeats: str) -> str:
    """Return what a row that was passed over repeats."""
    return f"Duplicate, passed over. {repeats}"


def incomplete(reasons: Sequence[str]) -> str:
    """Return why a row was imported without some of its cells."""
    return f"Imported without what cannot be read. {' '.join(reasons)}"
