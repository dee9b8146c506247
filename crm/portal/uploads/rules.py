"""The columns and rows of a practice's file of referrals. Pure.

What is wrong is a code; `texts` has the words. A row is checked by the rules of the form.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any

from crm.contacts import column_names
from crm.contacts.rules import InvalidValue, clean_language, means_nothing
from crm.core import csv_files
from crm.core.csv_files import Table, plain_cell
from crm.core.text import fold
from crm.intake.values import label_of, list_value
from crm.portal import referral_form
from crm.portal.referral_form import NEW_CLINICIAN, FormResult

MOST_BYTES = 2 * 1024 * 1024
MOST_ROWS = 500
FORM_ONLY = ("clinician", "informed", "agreed")  # chosen or ticked by the sender, never read from a file
FIELDS = tuple(name for name in referral_form.FIELDS if name not in FORM_ONLY)
NEEDED = ("first_name", "last_name", "birth_date", "phone", "reason")

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
_VALUES: Mapping[str, Mapping[str, str]] = {
    "urgency": {"urgente": "urgent", "yes": "urgent", "si": "urgent", "stat": "urgent", "asap": "urgent",
                "no": "routine", "rutina": "routine",
                "normal": "routine"},
    "service": {
        "advice": "consult", "consulta": "consult", "opinion": "consult", "consultation": "consult",
        "consultation only": "consult", "solo consulta": "consult", "treatment": "treat", "tratamiento": "treat",
        "evaluation and treatment": "treat", "evaluacion y tratamiento": "treat",
    },
}  # fmt: skip


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
    return wrong + [("missing", one) for one in NEEDED if one not in chosen]


def answers_of(
    cells: Sequence[str], *, mapping: Mapping[str, str], clinician: str, npis: Mapping[str, str]
) -> dict[str, str]:
    """Return a row as the form's answers. `clinician`: id of who refers where the row names nobody; `npis`: NPI -> id."""
    found = {
        name: plain_cell(cells[int(number)]).strip() if int(number) < len(cells) else ""
        for number, name in mapping.items()
    }
    for name, known in _VALUES.items():
        value = found.get(name, "")
        found[name] = known.get(fold(value), value.lower())
    with suppress(InvalidValue):
        found["language"] = clean_language(found.get("language", ""))
    npi = "".join(found.get("npi", "").split())
    named = bool(npi or found.get("clinician_name"))
    found["clinician"] = npis.get(npi) or (NEW_CLINICIAN if named or not clinician else clinician)
    return referral_form.typed_answers(found | {"informed": "yes"})


def read_row(
    answers: Mapping[str, str],
    *,
    clinicians: Mapping[str, tuple[str, str]],
    strangers: Collection[str],
    today: date,
    problem: str = "",
) -> FormResult:
    """Read a row by the rules of the form; `clean["left_out"]` lists what is optional and cannot be read.

    One way to reach the patient is enough, email or phone. `strangers`: NPIs of clinicians of other practices.
    `problem` is the code that the reader of the file gave the row.
    """
    read = referral_form.read_form(answers, clinicians=clinicians, today=today)
    if problem:
        read.wrong = {"": problem}
        return read
    for name in _LEFT_OUT & read.wrong.keys():
        if name != "phone" or read.clean["email"]:
            del read.wrong[name]
            read.clean[name] = referral_form.CHOICES[name][0] if name in referral_form.CHOICES else None
            if not means_nothing(answers[name]):
                read.clean["left_out"].append(list_value(label_of(name), answers[name]))
    if len(answers["reason"]) >= referral_form.TYPED_LIMIT:
        read.wrong["reason"] = "text_long"
    if read.clean.get("npi") in strangers:
        read.wrong.setdefault("npi", "npi_taken")
    return read


_LEFT_OUT = {"phone", *referral_form.CHOICES}  # needed in the form, where one person can correct them


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
