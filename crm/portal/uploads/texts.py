"""What the pages for a practice's file of referrals say, in the reader's language."""

from collections.abc import Mapping
from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _

from crm.core.csv_files import BadFile
from crm.portal import texts as portal_texts

FIELDS: Mapping[str, Any] = {
    "clinician": _("Clinician"),
    "clinician_name": _("Name of the clinician"),
    "npi": _("NPI"),
    "contact_person": _("Contact person"),
    "external_id": _("Your reference number for this referral"),
    "first_name": _("First name"),
    "last_name": _("Last name"),
    "birth_date": _("Birth date"),
    "phone": _("Phone"),
    "email": _("Email address"),
    "language": _("Language"),
    "state": _("State where the patient lives"),
    "guardian_name": _("Parent or guardian"),
    "guardian_relation": _("Relation"),
    "guardian_phone": _("Phone of the guardian"),
    "reason": _("Reason"),
    "diagnoses": _("ICD-10 codes"),
    "payer": _("Insurance"),
    "member_id": _("Member number"),
    "urgency": _("How soon?"),
    "service": _("Service requested"),
}

_FILE: Mapping[str, Any] = {
    "required": _("Choose a CSV file."),
    "empty": _("The file is empty."),
    "big": _("The file is larger than 2 MB. Split it and send the parts one after the other."),
    "archive": _("This is a spreadsheet or an archive, not a CSV file. Open it, save it as “CSV UTF-8”, and choose that file."),
    "not_text": _("This is not a text file. Save the table as “CSV UTF-8” and choose that file."),
    "cells": _("The rows cannot be separated. A quotation mark may be missing its partner."),
    "columns": _("The file has %(count)s columns; at most 200 can be read."),
    "no_rows": _("The file holds column names and no rows."),
    "rows": _("The file has %(count)s rows; at most 500 can be sent at once. Split it and send the parts one after the other."),
}  # fmt: skip

_ROW: Mapping[str, Any] = {
    "double": _("Your practice may have sent this patient before, or the file has them twice."),
    "open_quote": _("A quotation mark is missing its partner. Add the second one, or delete the first."),
    "extra_cells": _(
        "The row has more cells than the header. Put quotation marks around a cell that contains a comma."
    ),
    "gone": _("The file was deleted. Upload it again."),
    "required:clinician_name": _("Enter the name of the clinician, or choose one for all rows."),
    "required:npi": _("Enter the NPI of the clinician."),
}


def file_problem(error: BadFile) -> str:
    """Return what is wrong with a file."""
    return str(_FILE[error.code]) % {"count": f"{error.count:,}"}


def mapping_problem(code: str, field: str) -> str:
    """Return what is wrong with the chosen columns."""
    if code == "twice":
        return str(gettext("Two columns are chosen as “%(name)s”.", name=FIELDS[field]))
    if code == "missing":
        return str(gettext("Choose the column for “%(name)s”.", name=FIELDS[field]))
    return str(gettext("Choose what each column is from the list."))


def row_problem(reason: str) -> str:
    """Return what is wrong with a row: "code:field" of each problem, separated by spaces, in words."""
    said = []
    for one in reason.split():
        code, _colon, field = one.partition(":")
        words = str(_ROW.get(one) or _ROW.get(code) or portal_texts.problem(code, field))
        said.append(f"{FIELDS[field]}: {words}" if field in FIELDS else words)
    return " ".join(said)
