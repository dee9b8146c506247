"""Optional values that cannot be read: left out and listed, so that the person is kept. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crm.contacts.rules import InvalidValue, Problem, means_nothing
from crm.core.text import clean, fold

SHOWN = 2000  # characters of an unread value that staff see

_DIAGNOSIS = re.compile(r"[A-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?")


@dataclass(frozen=True, kw_only=True)
class Unread:
    """An optional value that could not be read: its field, what was given, and what is wrong with it."""

    field: str
    text: str
    problem: Problem

    @property
    def label(self) -> str:
        """The field's name as staff read it: "guardian_phone" -> "Guardian phone"."""
        return _LABELS.get(self.field) or self.field.replace("_", " ").capitalize()

    @property
    def listed(self) -> str:
        """The value as staff see it: State “Califrnia”."""
        text = clean(self.text, lines=False)
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
        return f"{self.label} “{shown[:SHOWN]}”"


def list_unread(unread: Iterable[Unread]) -> str:
    """Return what staff read of values that could not be read."""
    return f"Could not read: {'; '.join(one.listed for one in unread)}"


_LABELS = {"diagnoses": "Diagnosis", "attachments": "Attachment", "npi": "NPI"}


class LeftOut(str):
    """The default of a field in place of a value that could not be read."""

    unread: Unread

    def __new__(cls, default: str | None, unread: Unread) -> "LeftOut":
        self = super().__new__(cls, default or "")
        self.unread = unread
        return self


def optional_value(name: str, text: str | None, rule: Callable[[str], Any], left_out: list[Unread]) -> Any:
    """Return what `rule` reads from a text; None for no value, and for one it cannot read, which `left_out` gets."""
    if text is None or means_nothing(text):
        return None
    try:
        return rule(text)
    except InvalidValue as error:
        left_out.append(Unread(field=name, text=text, problem=error.problem))
        return None


def read_choice(words: Mapping[str, str]) -> Callable[[str], str]:
    """Return a rule that reads a code from one of its folded `words`. The rule raises InvalidValue."""

    def read(text: str) -> str:
        if (found := words.get(fold(text))) is None:
            raise InvalidValue("choice")
        return found

    return read


clean_urgency = read_choice(
    dict.fromkeys(("routine", "rutina", "normal", "no", "non urgent"), "routine")
    | dict.fromkeys(("urgent", "urgente", "yes", "si", "stat", "asap", "emergency"), "urgent")
)
clean_service = read_choice(
    dict.fromkeys(
        ("consult", "consultation", "consulta", "advice", "opinion", "consultation only", "solo consulta"),
        "consult",
    )
    | dict.fromkeys(
        ("treat", "treatment", "tratamiento", "evaluation and treatment", "evaluacion y tratamiento"), "treat"
    )
)
clean_preferred_contact = read_choice(
    dict.fromkeys(("phone", "call", "telefono", "telephone", "cell", "mobile"), "phone")
    | dict.fromkeys(("email", "e mail", "mail", "correo", "correo electronico"), "email")
)


def clean_diagnosis(text: str) -> str:
    """Return an ICD-10-CM code with its dot: "g90511" -> "G90.511"."""
    code = "".join(clean(text, lines=False).upper().split())
    if "." not in code and len(code) > 3:
        code = f"{code[:3]}.{code[3:]}"
    if not _DIAGNOSIS.fullmatch(code):
        raise InvalidValue("diagnosis")
    return code
