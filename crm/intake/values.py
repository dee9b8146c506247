"""Optional values that cannot be read: left out and listed, so that the person is kept. Pure."""

import re
from collections.abc import Callable
from typing import Any

from crm.contacts.rules import InvalidValue, means_nothing
from crm.core.text import clean

SHOWN = 100  # characters of an unread value that staff see

_DIAGNOSIS = re.compile(r"[A-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?")


class LeftOut(str):
    """The default of a field in place of a value that could not be read; `listed` says which value."""

    listed: str

    def __new__(cls, default: str | None, *, listed: str) -> "LeftOut":
        self = super().__new__(cls, default or "")
        self.listed = listed
        return self


def optional_value(label: str, text: str | None, rule: Callable[[str], Any], left_out: list[str]) -> Any:
    """Return what `rule` reads from a text; None for no value, and for one it cannot read, which `left_out` lists."""
    if text is None or means_nothing(text):
        return None
    try:
        return rule(text)
    except InvalidValue:
        left_out.append(list_value(label, text))
        return None


def list_value(label: str, text: str) -> str:
    """Return how a value that could not be read is listed: State “Califrnia”."""
    text = clean(text, lines=False)
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
    return f"{label} “{shown[:SHOWN]}”"


def label_of(field: str) -> str:
    """Return a field's name as staff read it: "guardian_phone" -> "Guardian phone"."""
    return field.replace("_", " ").capitalize()


def clean_diagnosis(text: str) -> str:
    """Return an ICD-10-CM code with its dot: "g90511" -> "G90.511"."""
    code = "".join(clean(text, lines=False).upper().split())
    if "." not in code and len(code) > 3:
        code = f"{code[:3]}.{code[3:]}"
    if not _DIAGNOSIS.fullmatch(code):
        raise InvalidValue("diagnosis")
    return code
