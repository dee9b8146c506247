"""Who may sign an exception, for which findings, and until when. Pure.

The claims check cannot know everything: a sentence that it stops may be right for a reason that two people can state. A
clinician vouches for the medicine, an administrator for the clinic. Neither wrote the text, and it ends by itself.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

CLINICIAN, ADMIN = "clinician", "admin"
SIGNATURES = (CLINICIAN, ADMIN)
DAYS: Mapping[int, timedelta] = {days: timedelta(days=days) for days in (30, 90, 180)}
"""How long an exception may last."""

NEVER = frozenset({"testimonial", "disguise"})
"""Kinds that no signature lets pass: a patient's story needs the patient's authorization, a disguised word has no good reason."""


class Finding(Protocol):
    """What these rules know of a finding of the claims check."""

    @property
    def id(self) -> str:
        """The rule or kind."""

    @property
    def where(self) -> str:
        """The part of the text: body, subject, `block:<name>`."""

    @property
    def of_sentence(self) -> bool:
        """Whether it is about one sentence."""

    @property
    def blocks(self) -> bool:
        """Whether it keeps the text from being sent."""


def may_be_signed(finding: Finding) -> bool:
    """Tell whether an exception may let a finding pass: one sentence of the text, not what a locked screen or a link shows."""
    in_text = finding.where == "body" or finding.where.startswith("block:")
    return finding.blocks and finding.of_sentence and in_text and finding.id not in NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureRequest:
    """A request to sign. `signed` maps each signature that is given to its person."""

    actor: str
    roles: Collection[str]
    as_role: str
    authors: Collection[str]
    signed: Mapping[str, str]
    ends_at: datetime
    ended: bool
    now: datetime


def signature_problem(asked: SignatureRequest) -> str | None:
    """Return why this signature cannot be given, in words for who asked; None when it can."""
    if asked.as_role not in SIGNATURES or asked.as_role not in asked.roles:
        return "Only a clinician and an administrator sign an exception."
    if asked.ended or asked.ends_at <= asked.now:
        return "This exception has ended. Ask for a new one."
    if asked.actor in asked.authors:
        return "You wrote this text, so another person has to sign."
    if asked.as_role in asked.signed:
        return "This signature is already given."
    if asked.actor in asked.signed.values():
        return "You gave the other signature. A second person has to give this one."
    return None
