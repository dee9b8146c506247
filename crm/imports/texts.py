"""What the import pages say: kinds of file, states, and why a file cannot be read."""

from collections.abc import Mapping, Sequence

from crm.contacts.texts import sentence
from crm.core.csv_files import BadFile
from crm.imports.models import ImportState
from crm.imports.rules import CONTACTS, FIELDS, LEADS, MOST_BYTES
from crm.intake import file_texts
from crm.intake.values import Unread

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


def file_problem(error: BadFile) -> str:
    """Return why a file cannot be read, and what to do."""
    return file_texts.file_problem(error, most_bytes=MOST_BYTES)


def incomplete(left_out: Sequence[Unread]) -> str:
    """Return that a row goes in without some of its cells, and why."""
    return file_texts.without(f"{FIELDS[one.field]}: {sentence(one.problem)}" for one in left_out)
