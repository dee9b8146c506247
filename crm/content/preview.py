"""Preview of an email, drafts included, rendered in the same way as a sent one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from crm.content import claims_gate, service
from crm.content.models import ContentVersion
from crm.content.render.fields import ContentError
from crm.content.render.rendering import ClinicFacts, Personal, Rendered, personalise, render
from crm.content.render.source import parse, parse_block

PEOPLE: Mapping[str, tuple[str, str]] = {  # code -> first name, who it is
    "ana": ("Ana", "Ana"),
    "long": ("María José de los Ángeles", "A long name with accents"),
    "none": ("", "Nobody told us a first name"),
}
_DARK = re.compile(r"@media\s*\(prefers-color-scheme:\s*dark\)")
_CARRIER = {
    "en": "---\nsubject: Preview\npreheader: Preview\npurpose: Preview\nstream: provider_nurture\nlanguage: en\n---\n\n",
    "es": "---\nsubject: Vista\npreheader: Vista\npurpose: Vista\nstream: provider_nurture\nlanguage: es\n---\n\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """How to look at it: as whom, and light or dark."""

    person: str = "ana"
    dark: bool = False


def preview(version: ContentVersion, *, look: Appearance, block: ContentVersion | None = None) -> Personal:
    """Return a version as one made-up person would see it, with this version of a block if one is given.

    Raises ContentError for a text that cannot be rendered.
    """
    rendered = rendering(version, block=block)
    mail = personalise(rendered, fields(look.person, language=version.language))
    # a frame follows the system's colors, so the wish is written into the page
    html = _DARK.sub("@media all" if look.dark else "@media not all", mail.html)
    return Personal(mail.subject, mail.preheader, html, mail.text, mail.language)


def rendering(version: ContentVersion, *, block: ContentVersion | None = None) -> Rendered:
    """Return a version as it would be rendered for a batch today. A block is shown inside an empty email."""
    blocks = service.current_blocks(version.language)
    if block is not None and block.language == version.language:
        blocks[block.item.key.removeprefix("block/")] = block.source
    text = version.source
    if claims_gate.is_block(text):
        alone = parse_block(text)
        blocks[alone.name] = text
        text = (
            _CARRIER[version.language]
            + ("" if alone.words else f"[[block: {alone.name}]]\n")
            + _FILLER[bool(alone.words)]
        )
    return _render(text, tuple(sorted(blocks.items())), service.layout(), service.clinic_facts())


_FILLER = {True: "…\n", False: ""}


@lru_cache(maxsize=128)
def _render(text: str, blocks: claims_gate.Blocks, frame: str, clinic: ClinicFacts) -> Rendered:
    return render(parse(text), blocks=dict(blocks), layout=frame, clinic=clinic)


def fields(person: str, *, language: str) -> dict[str, str]:
    """Return values for every merge field, with links that lead to the site and open nothing."""
    home = service.clinic_facts().public_url
    name = PEOPLE.get(person, PEOPLE["ana"])[0]
    spanish = language == "es"
    return {
        "first_name": name,
        "signup_date": "3 de marzo de 2026" if spanish else "March 3, 2026",
        "reference": "R-0000",
        "appointment_time": "martes, 10 de marzo, 9:00" if spanish else "Tuesday, March 10, 9:00 AM",
        "unsubscribe_url": f"{home}/u/preview",
        "preferences_url": f"{home}/p/preview",
        "call_url": f"{home}/a/preview?answer=call",
        "not_now_url": f"{home}/a/preview?answer=not_now",
        "guide_url": f"{home}/a/preview?answer=guide",
        "confirm_url": f"{home}/c/preview",
        "signin_url": f"{home}/refer/in/preview",
        "staff_signin_url": f"{home}/sign-in/preview",
        "data_url": f"{home}/d/preview",
    }


__all__ = ["PEOPLE", "Appearance", "ContentError", "fields", "preview", "rendering"]
