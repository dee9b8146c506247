"""The form by which staff edit a person: typed texts in, clean values or what is wrong out. Pure.

Only fields that were submitted are read, so a page may show some of them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from crm.contacts import rules
from crm.contacts.rules import InvalidValue

LABELS: Mapping[str, str] = {
    "first_name": "First name",
    "last_name": "Last name",
    "preferred_name": "Preferred name",
    "email": "Email",
    "phone": "Phone",
    "phone_kind": "Type of the phone",
    "more_phones": "More phone numbers",
    "language": "Language",
    "state": "State",
    "time_zone": "Time zone",
    "birth_date": "Birth date",
    "chart_number": "Chart number",
    "guardian_name": "Guardian",
    "guardian_relation": "Relation of the guardian",
    "guardian_phone": "Phone of the guardian",
}
"""Editable fields, in the order of the page, with their labels."""

CLINICAL = ("birth_date", "guardian_name", "guardian_relation", "guardian_phone")
"""Fields that only staff with clinical access see and edit."""

GUARDIAN = ("guardian_name", "guardian_relation", "guardian_phone")
MOST_PHONES = 5  # besides the first
KINDS = ("mobile", "home", "work", "guardian", "other")
NAMELESS = "Enter a first or a last name."
SAME_NUMBER = "This number is there already."


def _line(limit: int) -> Callable[[str], str]:
    return lambda text: rules.clean_text(text, limit=limit, lines=False)


def _kind(text: str) -> str:
    if text not in KINDS:
        raise InvalidValue("choice")
    return text


_RULES: Mapping[str, Callable[[str], Any]] = {
    "first_name": rules.clean_name,
    "last_name": rules.clean_name,
    "preferred_name": rules.clean_name,
    "email": rules.clean_email,
    "phone": rules.clean_phone,
    "phone_kind": _kind,
    "language": rules.clean_language,
    "state": rules.clean_state,
    "time_zone": rules.clean_zone,
    "chart_number": _line(40),
    "guardian_name": _line(120),
    "guardian_relation": _line(60),
    "guardian_phone": rules.clean_phone,
}
_NEEDED = frozenset({"language"})
_TEXTS = frozenset({"first_name", "last_name"})  # stored as "" where there is none


@dataclass(kw_only=True)
class EditResult:
    """Clean values of the submitted fields, and field -> messages of what is wrong.

    `phones`: (kind, number) of the further numbers, None if they were not submitted.
    """

    values: dict[str, Any] = field(default_factory=dict)
    phones: list[tuple[str, str]] | None = None
    wrong: dict[str, list[str]] = field(default_factory=dict)


def read_edit(
    typed: Mapping[str, str], *, today: date, clinic_zone: str, numbers: list[tuple[str, str]] | None = None
) -> EditResult:
    """Read the submitted fields. `numbers`: (kind, text) of the further phone numbers as typed."""
    found = EditResult()
    for name in LABELS:
        if name in typed and name != "more_phones":
            _read(found, name, typed[name], today=today)
    if "time_zone" in found.values and found.values["time_zone"] is None:
        state = found.values.get("state")
        found.values["time_zone"] = rules.zone_for(given=None, state=state, clinic=clinic_zone)
    names = [found.values.get(name, "x") for name in ("first_name", "last_name")]
    if not any(names) and not found.wrong:
        found.wrong["first_name"] = [NAMELESS]
    if numbers is not None:
        _read_phones(found, numbers)
    return found


def _read(found: EditResult, name: str, text: str, *, today: date) -> None:
    if rules.means_nothing(text):
        found.values[name] = "" if name in _TEXTS else None
        if name in _NEEDED:
            found.wrong[name] = [rules.REASONS["required"]]
        return
    try:
        if name == "birth_date":
            found.values[name] = rules.read_birth_date(text, today=today)
        else:
            found.values[name] = _RULES[name](text)
    except InvalidValue as error:
        found.wrong[name] = [str(error)]


def _read_phones(found: EditResult, numbers: list[tuple[str, str]]) -> None:
    phones: list[tuple[str, str]] = []
    known = {rules.number_of(found.values.get("phone") or "")}
    for place, (kind, text) in enumerate(numbers):
        if rules.means_nothing(text):
            continue
        try:
            number = rules.clean_phone(text)
        except InvalidValue as error:
            found.wrong[f"phone_{place}"] = [str(error)]
            continue
        if rules.number_of(number) in known:
            found.wrong[f"phone_{place}"] = [SAME_NUMBER]
        known.add(rules.number_of(number))
        phones.append((kind if kind in KINDS else "other", number))
    found.phones = phones[:MOST_PHONES]


_WRITTEN = ("email", "phone", "birth_date", "state", "first_name", "last_name", "language")
_PART = re.compile(rf"(?:\A|; )({'|'.join(name.replace('_', ' ') for name in _WRITTEN)}): ")


def read_differences(text: str) -> dict[str, str]:
    """Return field -> value of the line that an intake writes of what differed from the record.

    >>> read_differences("email: ana@example.org; first name: Anna")
    {'email': 'ana@example.org', 'first_name': 'Anna'}
    """
    parts = _PART.split(text)[1:]
    return {name.replace(" ", "_"): value for name, value in zip(parts[::2], parts[1::2], strict=True)}
