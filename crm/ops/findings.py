"""A finding of the diagnostics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know; `level` is "problem" or "note", `code` names what it is about."""

    level: str
    text: str
    code: str = ""
