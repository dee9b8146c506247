"""The forms by which staff add and edit practices and clinicians: typed texts in, clean values or errors out. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crm.contacts import rules as people
from crm.contacts.rules import InvalidValue
from crm.referrers.rules import is_npi_format

PRACTICE: Mapping[str, str] = {
    "name": "Name",
    "phone": "Phone",
    "fax": "Fax",
    "email": "Email",
    "address": "Address",
    "city": "City",
    "state": "State",
    "language": "Language",
}
"""Editable fields of a practice, in the order of the page, with their labels."""

NPI = "Enter an NPI: ten digits, the last one a check digit."


def _line(limit: int) -> Callable[[str], str]:
    return lambda text: people.clean_text(text, limit=limit, lines=False)


_RULES: Mapping[str, Callable[[str], str]] = {
    "name": _line(200),
    "phone": people.clean_phone,
    "fax": people.clean_phone,
    "email": people.clean_email,
    "address": _line(200),
    "city": _line(80),
    "state": people.clean_state,
    "language": people.clean_language,
}
_NEEDED = frozenset({"name", "language"})


@dataclass(kw_only=True)
class PracticeResult:
    """Clean values, and field -> messages of what is wrong."""

    values: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)


def read_practice(typed: Mapping[str, str]) -> PracticeResult:
    """Read the form of a practice."""
    found = PracticeResult()
    for name, rule in _RULES.items():
        _read(found, name, typed.get(name, ""), rule, needed=name in _NEEDED)
    return found


def read_clinician(typed: Mapping[str, str]) -> PracticeResult:
    """Read the form of a clinician: a name and an NPI."""
    found = PracticeResult()
    _read(found, "clinician_name", typed.get("clinician_name", ""), _line(120), needed=True)
    npi = found.values["npi"] = "".join(typed.get("npi", "").split())
    if not is_npi_format(npi):
        found.wrong["npi"] = [NPI]
    return found


def _read(found: PracticeResult, name: str, text: str, rule: Callable[[str], str], *, needed: bool) -> None:
    found.values[name] = None
    if people.means_nothing(text):
        if needed:
            found.wrong[name] = [people.REASONS["required"]]
        return
    try:
        found.values[name] = rule(text)
    except InvalidValue as error:
        found.wrong[name] = [str(error)]
