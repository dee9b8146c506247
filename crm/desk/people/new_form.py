"""The form by which staff enter a person: a contact, a lead, or a referral by phone, walk-in, fax or event. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from crm.contacts import rules as people
from crm.contacts.rules import InvalidValue, Person
from crm.intake.values import Unread, clean_diagnosis, optional_value
from crm.leads import rules
from crm.referrers.rules import is_npi_format

CONTACT, LEAD, REFERRAL = "contact", "lead", "referral"
KINDS = {LEAD: "Lead", REFERRAL: "Referral", CONTACT: "Contact only"}
ADULT = 18
PERSON = ("first_name", "last_name", "email", "phone", "language", "state", "birth_date")
FIELDS = (
    *PERSON, "source", "heard_from", "message", "spoken", "referrer", "clinician", "clinician_name", "npi", "practice",
    "practice_phone", "practice_fax", "external_id", "urgency", "service", "reason", "diagnoses", "informed",
    "guardian_name", "guardian_relation", "guardian_phone",
)  # fmt: skip
NEW_CLINICIAN = "new"
NAMELESS = "Enter a first or a last name."
REQUIRED = people.REASONS["required"]
REACHABLE = "Enter a phone number or an email address."
SPOKEN_WITHOUT_EMAIL = "Enter the email address to which the invitation is sent."
GUARDIAN_NEEDED = "A patient under 18 needs a guardian."
NPI = "Enter an NPI: ten digits, the last one a check digit."


@dataclass(kw_only=True)
class NewResult:
    """Clean values, and field -> messages of what is wrong."""

    clean: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)


def _line(limit: int) -> Callable[[str], str]:
    return lambda text: people.clean_text(text, limit=limit, lines=False)


def _text(limit: int) -> Callable[[str], str]:
    return lambda text: people.clean_text(text, limit=limit)


_RULES: Mapping[str, Callable[[str], Any]] = {
    "first_name": people.clean_name,
    "last_name": people.clean_name,
    "email": people.clean_email,
    "phone": people.clean_phone,
    "language": people.clean_language,
    "state": people.clean_state,
    "message": _text(rules.MESSAGE_LIMIT),
    "clinician_name": _line(120),
    "practice": _line(200),
    "practice_phone": people.clean_phone,
    "practice_fax": people.clean_phone,
    "external_id": _line(100),
    "reason": _text(2000),
    "diagnoses": _line(200),
    "guardian_name": _line(120),
    "guardian_relation": _line(60),
    "guardian_phone": people.clean_phone,
}
_CHOICES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    LEAD: {"source": rules.BY_HAND, "heard_from": ("", *rules.HEARD_FROM)},
    REFERRAL: {"source": rules.BY_HAND, "urgency": ("routine", "urgent"), "service": ("consult", "treat")},
    CONTACT: {"source": rules.BY_HAND},
}


def typed_answers(values: Mapping[str, Any]) -> dict[str, str]:
    """Return what was typed into the fields we know."""
    return {name: str(values.get(name) or "")[:4000] for name in FIELDS}


def read_new(typed: Mapping[str, str], *, kind: str, today: date) -> NewResult:
    """Read a form. For a referral the clinician is checked by `check_new_clinician`, where one is entered."""
    found = NewResult()
    for name, rule in _RULES.items():
        _read(found, name, typed.get(name, ""), rule)
    _read(
        found,
        "birth_date",
        typed.get("birth_date", ""),
        lambda text: people.read_birth_date(text, today=today),
    )
    for name, allowed in _CHOICES[kind].items():
        found.clean[name] = typed.get(name, "") or allowed[0]
        if found.clean[name] not in allowed:
            found.wrong[name] = [people.REASONS["choice"]]
    found.clean["language"] = found.clean["language"] or "en"
    found.clean["heard_from"] = found.clean.get("heard_from") or None
    _check_person(found, spoken=typed.get("spoken") == "yes")
    if kind == REFERRAL:
        _check_referral(found, typed, today)
    return found


def _read(found: NewResult, name: str, text: str, rule: Callable[[str], Any]) -> None:
    found.clean[name] = None
    if people.means_nothing(text):
        return
    try:
        found.clean[name] = rule(text)
    except InvalidValue as error:
        found.wrong[name] = [str(error)]


def _missing(found: NewResult, *names: str) -> bool:
    """Return whether none of these fields has a value, nor an error of its own."""
    return not any(found.clean.get(name) or name in found.wrong for name in names)


def _check_person(found: NewResult, *, spoken: bool) -> None:
    if _missing(found, "first_name", "last_name"):
        found.wrong["first_name"] = [NAMELESS]
    if _missing(found, "phone", "email"):
        found.wrong["phone"] = [REACHABLE]
    found.clean["spoken"] = spoken
    if spoken and _missing(found, "email"):
        found.wrong["email"] = [SPOKEN_WITHOUT_EMAIL]


def _check_referral(found: NewResult, typed: Mapping[str, str], today: date) -> None:
    if _missing(found, "reason"):
        found.wrong["reason"] = [REQUIRED]
    left_out: list[Unread] = []
    parts = (found.clean["diagnoses"] or "").replace(";", ",").split(",")
    codes = [optional_value("diagnoses", part, clean_diagnosis, left_out) for part in parts]
    found.clean["diagnoses"] = [code for code in codes if code]
    found.clean["left_out"] = left_out
    found.clean["informed"] = typed.get("informed") == "yes"
    born = found.clean["birth_date"]
    if born and _age(born, today) < ADULT and _missing(found, "guardian_name"):
        found.wrong["guardian_name"] = [GUARDIAN_NEEDED]


def _age(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def check_new_clinician(found: NewResult, npi: str) -> None:
    """Require what a clinician who is not known yet is stored with."""
    found.clean["npi"] = "".join(npi.split())
    if not is_npi_format(found.clean["npi"]):
        found.wrong["npi"] = [NPI]
    for name in ("clinician_name", "practice"):
        if _missing(found, name):
            found.wrong[name] = [REQUIRED]


def person(clean: Mapping[str, Any], *, clinic_zone: str) -> Person:
    """Return the person of a form that is in order."""
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
        "payer": None,
        "attachments": [],
        "preferred_contact": "phone",
    }


def guardian(clean: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the guardian, or None."""
    if not clean["guardian_name"]:
        return None
    return {name: clean[f"guardian_{name}"] for name in ("name", "relation", "phone")}
