"""A practice's file of referrals: what it may look like, what its columns are, what a row says. Pure.

What is wrong is a code; `referral_words` has the words. The rows themselves are judged by the form's own rules.
"""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from crm.contacts.rules import folded
from crm.imports.rules import MOST_COLUMNS, delimiter_of, encoding_of, plain_cell, shown
from crm.portal import form as portal_form
from crm.portal.form import NEW_CLINICIAN, Read

MOST_BYTES = 2 * 1024 * 1024
MOST_ROWS = 500
FORM_ONLY = (
    "clinician",
    "informed",
    "agreed",
)  # chosen or ticked by the person who sends, never read from a file
FIELDS = tuple(name for name in portal_form.FIELDS if name not in FORM_ONLY)
NEEDED = ("first_name", "last_name", "birth_date", "phone", "reason")

_ALSO: Mapping[str, str] = {
    "first_name": "first given forename patientfirstname nombre nombres",
    "last_name": "last surname family patientlastname apellido apellidos",
    "birth_date": "dob birthday dateofbirth birthdate fechadenacimiento nacimiento",
    "phone": "telephone mobile cell phonenumber telefono celular movil",
    "email": "mail emailaddress correo correoelectronico",
    "language": "lang idioma lengua",
    "state": "st estado statewherethepatientlives estadodondeviveelpaciente",
    "guardian_name": "guardian parent parentorguardian tutor padremadreotutor nombredeltutor",
    "guardian_relation": "relation relationship parentesco relacion",
    "guardian_phone": "parentphone phoneoftheguardian telefonodeltutor",
    "reason": "reasonforreferral why referralreason motivo razon motivodelreferido",
    "diagnoses": "diagnosis icd icd10 icd10codes codes diagnostico diagnosticos codigosicd10",
    "payer": "insurance insurer seguro aseguradora",
    "member_id": "memberid membernumber policynumber numerodemiembro numerodeafiliado",
    "urgency": "urgent howsoon priority urgencia urgente prioridad conqueurgencia",
    "service": "whatdoyouaskfor servicio quesolicita",
    "contact_person": "whommaywecallaboutthis contact callabout contacto personadecontacto",
    "external_id": (
        "id yournumber ournumber yourownnumberforthisreferral chartnumber mrn referralnumber sunumero "
        "supropionumeroparaestereferido numerodeexpediente expediente"
    ),
    "clinician_name": "clinician nameoftheclinician nombredelprofesional doctor physician referringclinician medico profesional",
    "npi": "cliniciannpi npinumber numeronpi",
}
_VALUES: Mapping[str, Mapping[str, str]] = {
    "language": {"english": "en", "ingles": "en", "spanish": "es", "espanol": "es"},
    "urgency": {"urgente": "urgent", "yes": "urgent", "si": "urgent", "no": "routine", "rutina": "routine",
                "normal": "routine"},
    "service": {"advice": "consult", "consulta": "consult", "opinion": "consult", "treatment": "treat",
                "tratamiento": "treat"},
}  # fmt: skip


class Unfit(ValueError):
    """A file that cannot be taken. `code` says why; `count` how many there were of what was too many."""

    def __init__(self, code: str, count: int = 0) -> None:
        super().__init__(code)
        self.code, self.count = code, count


@dataclass(frozen=True, kw_only=True)
class Table:
    """A file, read. `rows`: line in the file -> cells; the names of the columns are line 1."""

    header: list[str]
    rows: dict[int, list[str]]


def read_table(content: bytes) -> Table:
    """Return what a CSV file holds. Raises Unfit: empty, big, archive, not_text, cells, columns, no_rows, rows."""
    if not content.strip(b" \t\r\n\xef\xbb\xbf"):
        raise Unfit("empty")
    if len(content) > MOST_BYTES:
        raise Unfit("big")
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"%PDF-")):
        raise Unfit("archive")
    text = _decoded(content)
    if "\0" in text:
        raise Unfit("not_text")
    return _split(text.lstrip("\ufeff\r\n"))


def _decoded(content: bytes) -> str:
    encoding = encoding_of(content[:4096])
    if encoding is not None:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            raise Unfit("not_text") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode(
            "cp1252", "replace"
        )  # what spreadsheets save as plain CSV; Latin-1 is a part of it


def _split(text: str) -> Table:
    if not text.strip():
        raise Unfit("empty")
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text.splitlines()[0]))
        names = next(lines)
        if len(names) > MOST_COLUMNS:
            raise Unfit("columns", len(names))
        rows = {n: cells for n, cells in enumerate(lines, 2) if any(map(str.strip, cells))}
    except csv.Error as error:
        raise Unfit("cells") from error
    if not rows:
        raise Unfit("no_rows")
    if len(rows) > MOST_ROWS:
        raise Unfit("rows", len(rows))
    return Table(header=[shown(name) for name in names], rows=rows)


def guess(header: Sequence[str], remembered: Mapping[str, str]) -> dict[str, str]:
    """Return column number (as text) -> field: as remembered by the column's name, else as the name suggests."""
    found: dict[str, str] = {}
    for number, name in enumerate(header):
        field = remembered[folded(name)] if folded(name) in remembered else _by_name(name)
        if field in FIELDS and field not in found.values():
            found[str(number)] = field
    return found


def _by_name(name: str) -> str:
    plain = folded(name).replace(" ", "")
    for field, also in _ALSO.items():
        if plain and (plain == field.replace("_", "") or plain in also.split()):
            return field
    return ""


def check_mapping(header: Sequence[str], mapping: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (code, field) of what is wrong: choice, twice, missing."""
    chosen = list(mapping.values())
    places = set(map(str, range(len(header))))
    if not set(mapping) <= places or not set(chosen) <= set(FIELDS):
        return [("choice", "")]
    wrong = [("twice", one) for one in FIELDS if chosen.count(one) > 1]
    return wrong + [("missing", one) for one in NEEDED if one not in chosen]


def answers_of(
    cells: Sequence[str], *, mapping: Mapping[str, str], clinician: str, npis: Mapping[str, str]
) -> dict[str, str]:
    """Return a row as the form's answers. `clinician`: id of who refers where the row names nobody; `npis`: NPI -> id."""
    found = {
        field: plain_cell(cells[int(number)]).strip() if int(number) < len(cells) else ""
        for number, field in mapping.items()
    }
    for field, known in _VALUES.items():
        value = found.get(field, "")
        found[field] = known.get(folded(value), value.lower())
    npi = "".join(found.get("npi", "").split())
    named = bool(npi or found.get("clinician_name"))
    found["clinician"] = npis.get(npi) or (NEW_CLINICIAN if named or not clinician else clinician)
    return portal_form.typed(found | {"informed": "yes"})


def read_row(
    answers: Mapping[str, str],
    *,
    clinicians: Mapping[str, tuple[str, str]],
    strangers: Collection[str],
    today: date,
) -> Read:
    """Read a row by the rules of the form. `strangers`: NPIs of clinicians of other practices."""
    read = portal_form.read(answers, clinicians=clinicians, today=today)
    if len(answers["reason"]) >= portal_form.TYPED_LIMIT:
        read.wrong["reason"] = "text_long"
    if read.clean.get("npi") in strangers:
        read.wrong.setdefault("npi", "npi_taken")
    return read


EXAMPLE: Mapping[str, Any] = {
    "first_name": "Ana", "last_name": "Example", "birth_date": "5/17/1970", "phone": "213 555 0142",
    "email": "ana@example.com", "language": "en", "reason": "Back pain for three years", "urgency": "routine",
    "service": "consult",
}  # fmt: skip
TEMPLATE = (
    "first_name", "last_name", "birth_date", "phone", "email", "language", "state", "reason", "diagnoses", "urgency",
    "service", "payer", "member_id", "guardian_name", "guardian_relation", "guardian_phone", "external_id",
    "clinician_name", "npi",
)  # fmt: skip
