"""The referral form of the portal: typed values, clean values, and error codes. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from crm.contacts import rules as people
from crm.contacts.rules import InvalidValue, Person, Problem
from crm.core.text import clean
from crm.intake.values import Unread, clean_diagnosis, clean_service, clean_urgency, optional_value
from crm.referrers.rules import is_npi_format

FIELDS = (
    "clinician", "clinician_name", "npi", "contact_person", "external_id", "first_name", "last_name", "birth_date",
    "phone", "email", "language", "state", "guardian_name", "guardian_relation", "guardian_phone", "reason",
    "diagnoses", "payer", "member_id", "urgency", "service", "informed", "agreed",
)  # fmt: skip
CORRECTABLE = FIELDS[3:-2]  # all but the clinician, and what was ticked
NEW_CLINICIAN = "new"
CHOICES: Mapping[str, tuple[Callable[[str], str], str]] = {  # field -> rule, and what holds without an answer
    "language": (people.clean_language, "en"),
    "urgency": (clean_urgency, "routine"),
    "service": (clean_service, "consult"),
}
REQUIRED = Problem("required")
TYPED_LIMIT = 4000  # characters of one field that are kept as typed
ADULT = 18
NAMES = ("first_name", "last_name")  # one of them is enough


@dataclass(kw_only=True)
class FormResult:
    """What was read from a form: clean values, field -> what is wrong, and optional values that were left out."""

    clean: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, Problem] = field(default_factory=dict)
    left_out: list[Unread] = field(default_factory=list)


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
    _who(found, answers, clinicians)
    _read_values(found, answers, today)
    _read_ticks(found, answers)
    return found


def read_correction(answers: Mapping[str, str], *, today: date) -> FormResult:
    """Read a correction. An optional value that cannot be read is wrong here: the nurse sees the form again."""
    found = FormResult()
    _read_values(found, answers, today)
    for one in found.left_out:
        found.wrong.setdefault(one.field, one.problem)
    return found


def answers_of(clean: Mapping[str, Any]) -> dict[str, str]:
    """Return the clean values as texts that the form reads again."""
    texts = {name: clean[name] for name in CORRECTABLE} | {"diagnoses": ", ".join(clean["diagnoses"])}
    return {name: "" if value is None else str(value) for name, value in texts.items()}


def _read_values(found: FormResult, answers: Mapping[str, str], today: date) -> None:
    for name, (rule, needed) in RULES.items():
        _take(found, name, answers.get(name, ""), rule, needed=needed)
    _take(
        found,
        "birth_date",
        answers.get("birth_date", ""),
        lambda text: people.read_birth_date(text, today=today),
        needed=True,
    )
    for name, (rule, default) in CHOICES.items():
        found.clean[name] = optional_value(name, answers.get(name, ""), rule, found.left_out) or default
    _read_diagnoses(found)
    _one_name(found)
    born = found.clean["birth_date"]
    if born and age(born, today) < ADULT and not found.clean["guardian_name"]:
        found.wrong.setdefault("guardian_name", Problem("guardian"))


def _take(found: FormResult, name: str, text: str, rule: Callable[[str], Any], *, needed: bool) -> None:
    if not needed and name not in NAMES:
        found.clean[name] = optional_value(name, text, rule, found.left_out)
        return
    found.clean[name] = None
    if people.means_nothing(text):
        if needed:
            found.wrong[name] = REQUIRED
        return
    try:
        found.clean[name] = rule(text)
    except InvalidValue as error:
        found.wrong[name] = error.problem


def _read_diagnoses(found: FormResult) -> None:
    parts = (found.clean["diagnoses"] or "").replace(";", ",").split(",")
    codes = [optional_value("diagnoses", part, clean_diagnosis, found.left_out) for part in parts]
    found.clean["diagnoses"] = [code for code in codes if code]


def _who(found: FormResult, answers: Mapping[str, str], clinicians: Mapping[str, tuple[str, str]]) -> None:
    chosen = answers.get("clinician", "")
    if chosen in clinicians:
        found.clean["clinician_name"], found.clean["npi"] = clinicians[chosen]
        return
    if clinicians and chosen != NEW_CLINICIAN:
        found.wrong["clinician"] = REQUIRED if not chosen else Problem("choice")
        return
    _take(found, "clinician_name", answers.get("clinician_name", ""), _line(120), needed=True)
    npi = found.clean["npi"] = "".join(clean(answers.get("npi", "")).split())
    if not is_npi_format(npi):
        found.wrong["npi"] = Problem("npi") if npi else REQUIRED


def _one_name(found: FormResult) -> None:
    """Require one of the two names."""
    if not any(found.clean[name] or name in found.wrong for name in NAMES):
        found.wrong |= dict.fromkeys(NAMES, REQUIRED)


def _read_ticks(found: FormResult, answers: Mapping[str, str]) -> None:
    if answers.get("informed") != "yes":
        found.wrong["informed"] = Problem("informed")
    found.clean["agreed"] = answers.get("agreed") == "yes"
    if found.clean["agreed"] and not found.clean["email"] and "email" not in found.wrong:
        found.wrong["email"] = Problem("agreed_without_email")


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
        "payer": {"name": clean["payer"] or "", "member_id": clean["member_id"]}
        if clean["payer"] or clean["member_id"]
        else None,
        "attachments": [],
        "preferred_contact": "phone",
    }


def guardian(clean: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the parent or guardian, or None."""
    if not any(clean[name] for name in ("guardian_name", "guardian_relation", "guardian_phone")):
        return None
    return {
        "name": clean["guardian_name"] or "",
        "relation": clean["guardian_relation"] or "",
        "phone": clean["guardian_phone"],
    }
