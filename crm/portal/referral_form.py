"""The referral form of the portal: what was typed in, what we take from it, and codes of what is wrong. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from crm.contacts import rules as people
from crm.contacts.rules import InvalidValue, Person
from crm.core.text import clean
from crm.intake.values import clean_diagnosis, label_of, optional_value
from crm.referrers.rules import is_npi_format

FIELDS = (
    "clinician", "clinician_name", "npi", "contact_person", "external_id", "first_name", "last_name", "birth_date",
    "phone", "email", "language", "state", "guardian_name", "guardian_relation", "guardian_phone", "reason",
    "diagnoses", "payer", "member_id", "urgency", "service", "informed", "agreed",
)  # fmt: skip
NEW_CLINICIAN = "new"
CHOICES: Mapping[str, tuple[str, ...]] = {
    "language": people.LANGUAGES,
    "urgency": ("routine", "urgent"),
    "service": ("consult", "treat"),
}
TYPED_LIMIT = 4000  # characters of one field that are kept as typed
ADULT = 18
NAMES = ("first_name", "last_name")  # one of them is enough


@dataclass(kw_only=True)
class FormResult:
    """What was read from a form: clean values, and field -> code of what is wrong."""

    clean: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def typed_answers(values: Mapping[str, Any]) -> dict[str, str]:
    """Return what was typed into the fields we know, shortened to what one keeps."""
    return {name: str(values.get(name) or "")[:TYPED_LIMIT] for name in FIELDS}


def age(born: date, today: date) -> int:
    """Return the age in years."""
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def _line(limit: int) -> Callable[[str], str]:
    return lambda text: people.clean_text(text, limit=limit, lines=False)


def _text(limit: int) -> Callable[[str], str]:
    return lambda text: people.clean_text(text, limit=limit)


RULES: Mapping[str, tuple[Callable[[str], Any], bool]] = {  # field -> rule, whether it is needed
    "contact_person": (_line(120), False),
    "external_id": (_line(100), False),
    "first_name": (people.clean_name, False),
    "last_name": (people.clean_name, False),
    "phone": (people.clean_phone, True),
    "email": (people.clean_email, False),
    "state": (people.clean_state, False),
    "guardian_name": (_line(120), False),
    "guardian_relation": (_line(60), False),
    "guardian_phone": (people.clean_phone, False),
    "reason": (_text(2000), True),
    "diagnoses": (_line(200), False),  # read further by `_read_diagnoses`
    "payer": (_line(120), False),
    "member_id": (_line(60), False),
}


def read_form(
    answers: Mapping[str, str], *, clinicians: Mapping[str, tuple[str, str]], today: date
) -> FormResult:
    """Read a form. `clinicians`: id -> (name, NPI) of the practice's own."""
    found = FormResult()
    found.clean["left_out"] = []
    _who(found, answers, clinicians)
    for name, (rule, needed) in RULES.items():
        _take(found, name, answers.get(name, ""), rule, needed=needed)
    _take(
        found,
        "birth_date",
        answers.get("birth_date", ""),
        lambda text: people.read_birth_date(text, today=today),
        needed=True,
    )
    for name, allowed in CHOICES.items():
        value = answers.get(name) or allowed[0]
        found.clean[name] = value
        if value not in allowed:
            found.wrong[name] = "choice"
    _read_diagnoses(found)
    _together(found, answers, today)
    return found


def _take(found: FormResult, name: str, text: str, rule: Callable[[str], Any], *, needed: bool) -> None:
    if not needed and name not in NAMES:
        found.clean[name] = optional_value(label_of(name), text, rule, found.clean["left_out"])
        return
    found.clean[name] = None
    if people.means_nothing(text):
        if needed:
            found.wrong[name] = "required"
        return
    try:
        found.clean[name] = rule(text)
    except InvalidValue as error:
        found.wrong[name] = error.code


def _read_diagnoses(found: FormResult) -> None:
    parts = (found.clean["diagnoses"] or "").replace(";", ",").split(",")
    left_out = found.clean["left_out"]
    codes = [optional_value("Diagnosis", part, clean_diagnosis, left_out) for part in parts]
    found.clean["diagnoses"] = [code for code in codes if code]


def _who(found: FormResult, answers: Mapping[str, str], clinicians: Mapping[str, tuple[str, str]]) -> None:
    chosen = answers.get("clinician", "")
    if chosen in clinicians:
        found.clean["clinician_name"], found.clean["npi"] = clinicians[chosen]
        return
    if clinicians and chosen != NEW_CLINICIAN:
        found.wrong["clinician"] = "required" if not chosen else "choice"
        return
    _take(found, "clinician_name", answers.get("clinician_name", ""), _line(120), needed=True)
    npi = found.clean["npi"] = "".join(clean(answers.get("npi", "")).split())
    if not is_npi_format(npi):
        found.wrong["npi"] = "npi" if npi else "required"


def _one_name(found: FormResult) -> None:
    """Require one of the two names."""
    if not any(found.clean[name] or name in found.wrong for name in NAMES):
        found.wrong |= dict.fromkeys(NAMES, "required")


def _together(found: FormResult, answers: Mapping[str, str], today: date) -> None:
    _one_name(found)
    born = found.clean["birth_date"]
    if born and age(born, today) < ADULT and not found.clean["guardian_name"]:
        found.wrong.setdefault("guardian_name", "guardian")
    if answers.get("informed") != "yes":
        found.wrong["informed"] = "informed"
    found.clean["agreed"] = answers.get("agreed") == "yes"
    if found.clean["agreed"] and not found.clean["email"] and "email" not in found.wrong:
        found.wrong["email"] = "agreed_without_email"


def person(clean: Mapping[str, Any], *, clinic_zone: str) -> Person:
    """Return the patient of a form that is in order."""
    return Person(
        first_name=clean["first_name"] or "",
        last_name=clean["last_name"] or "",
        email=clean["email"],
        phone=clean["phone"],
        birth_date=clean["birth_date"],
        language=clean["language"],
        time_zone=people.zone_for(given=None, state=clean["state"], clinic=clinic_zone),
        state=clean["state"],
    )


def health(clean: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stored encrypted, in the shape the API stores it."""
    return {
        "reason": {"text": clean["reason"], "diagnoses": clean["diagnoses"]},
        "payer": {"name": clean["payer"], "member_id": clean["member_id"]} if clean["payer"] else None,
        "attachments": [],
        "preferred_contact": "phone",
    }


def guardian(clean: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the parent or guardian, or None."""
    if not clean["guardian_name"]:
        return None
    return {
        "name": clean["guardian_name"],
        "relation": clean["guardian_relation"] or "",
        "phone": clean["guardian_phone"],
    }
