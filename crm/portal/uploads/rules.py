"""The columns and rows of a practice's file of referrals. Pure.

What is wrong is a code; `texts` has the words. A row is checked by the rules of the form.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from crm.contacts import column_names
from crm.contacts.rules import Problem, means_nothing
from crm.core import csv_files
from crm.core.csv_files import Table, plain_cell
from crm.intake.values import Unread
from crm.portal import referral_form
from crm.portal.referral_form import NEW_CLINICIAN, FormResult

MOST_BYTES = 2 * 1024 * 1024
MOST_ROWS = 500
FORM_ONLY = ("clinician", "informed", "agreed")  # chosen or ticked by the sender, never read from a file
FIELDS = tuple(name for name in referral_form.FIELDS if name not in FORM_ONLY)
NEEDED = ("birth_date", "reason")
ONE_OF = (("first_name", "last_name"), ("phone", "email"))  # of each pair one column is enough

OTHER_NAMES: Mapping[str, str] = {
    **column_names.OF_A_PERSON,
    "state": f"{column_names.OF_A_PERSON['state']} statewherethepatientlives estadodondeviveelpaciente",
    "guardian_name": "guardian parent parentorguardian tutor padremadreotutor nombredeltutor",
    "guardian_relation": "relation relationship parentesco relacion",
    "guardian_phone": "parentphone phoneoftheguardian telefonodeltutor",
    "reason": "reasonforreferral why referralreason motivo razon motivodelreferido",
    "diagnoses": "diagnosis icd icd10 icd10codes codes diagnostico diagnosticos codigosicd10",
    "payer": "insurance insurer seguro aseguradora",
    "member_id": "memberid membernumber policynumber numerodemiembro numerodeafiliado",
    "urgency": "urgent howsoon priority urgencia urgente prioridad conqueurgencia",
    "service": "servicerequested serviciosolicitado whatdoyouaskfor servicio quesolicita",
    "contact_person": "contactperson whommaywecallaboutthis contact callabout contacto personadecontacto",
    "external_id": (
        "id yourreferencenumberforthisreferral sunumerodereferenciaparaestereferido "
        "yournumber ournumber yourownnumberforthisreferral chartnumber mrn referralnumber sunumero "
        "supropionumeroparaestereferido numerodeexpediente expediente"
    ),
    "clinician_name": (
        "clinician clinicianname nameoftheclinician referrer referrername referringprovider referringprovidername "
        "provider providername doctor doctorname physician referringphysician referringclinician medico profesional "
        "nombredelprofesional"
    ),
    "npi": "cliniciannpi referrernpi referringnpi referringprovidernpi providernpi physiciannpi doctornpi npinumber numeronpi",
}


def read_table(content: bytes) -> Table:
    """Return what a practice's file holds. Raises BadFile."""
    return csv_files.read_table(content, most_bytes=MOST_BYTES, most_rows=MOST_ROWS)


def check_mapping(header: Sequence[str], mapping: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (code, field) of what is wrong: choice, twice, missing."""
    chosen = list(mapping.values())
    places = set(map(str, range(len(header))))
    if not set(mapping) <= places or not set(chosen) <= set(FIELDS):
        return [("choice", "")]
    wrong = [("twice", one) for one in FIELDS if chosen.count(one) > 1]
    wrong += [("missing", pair[0]) for pair in ONE_OF if not set(pair) & set(chosen)]
    return wrong + [("missing", one) for one in NEEDED if one not in chosen]


def answers_of(
    cells: Sequence[str], *, mapping: Mapping[str, str], clinician: str, npis: Mapping[str, str]
) -> dict[str, str]:
    """Return a row as the form's answers. `clinician`: id of who refers where the row names nobody; `npis`: NPI -> id."""
    found = {
        name: plain_cell(cells[int(number)]).strip() if int(number) < len(cells) else ""
        for number, name in mapping.items()
    }
    npi = "".join(found.get("npi", "").split())
    named = bool(npi or found.get("clinician_name"))
    found["clinician"] = npis.get(npi) or (NEW_CLINICIAN if named or not clinician else clinician)
    return dict.fromkeys(referral_form.FIELDS, "") | found | {"informed": "yes"}


def read_row(
    answers: Mapping[str, str],
    *,
    clinicians: Mapping[str, tuple[str, str]],
    strangers: Collection[str],
    today: date,
    problem: str = "",
) -> FormResult:
    """Read a row by the rules of the form.

    One way to reach the patient is enough, email or phone. `strangers`: NPIs of clinicians of other practices.
    `problem` is the code that the reader of the file gave the row.
    """
    read = referral_form.read_form(answers, clinicians=clinicians, today=today)
    if problem:
        read.wrong = {"": Problem(problem)}
        return read
    if (
        read.clean["email"]
        and (wrong := read.wrong.pop("phone", None))
        and not means_nothing(answers["phone"])
    ):
        read.left_out.append(Unread(field="phone", text=answers["phone"], problem=wrong))
    if read.clean.get("npi") in strangers:
        read.wrong.setdefault("npi", Problem("npi_taken"))
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
