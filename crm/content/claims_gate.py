"""The claims check over stored text: with the blocks it would leave with, and remembered by its bytes."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from crm.content.claims import LANGUAGES, Finding, check, check_content, check_rules
from crm.content.claims.document import names_health
from crm.content.render.fields import ContentError
from crm.content.render.source import Block, parse, parse_block
from crm.content.testimonials.findings import with_testimonial_findings
from crm.core.config import ConfigError
from crm.core.text import ascii_name

Blocks = tuple[tuple[str, str], ...]


def findings(text: str, *, blocks: Mapping[str, str], host: str) -> list[Finding]:
    """Return everything the check says about an email, a page or a block. Raises ContentError for text that cannot be read.

    `blocks` maps names to block files of the text's language; `host` is where links may lead.
    """
    return list(_found(text, tuple(sorted(blocks.items())), host, learned=True))


def blocking(text: str, *, blocks: Mapping[str, str], host: str) -> list[Finding]:
    """Return what keeps a text from being submitted and approved: of rules, and of kinds that the reader is sure of."""
    return [one for one in findings(text, blocks=blocks, host=host) if one.blocks]


def blocking_by_rules(text: str, *, blocks: Mapping[str, str], host: str) -> list[Finding]:
    """Return what the rules alone say keeps an approved text from being sent.

    The reader is not asked: people approved exactly these bytes, and a newly trained reader stops no mail that they approved.
    """
    found = _found(text, tuple(sorted(blocks.items())), host, learned=False)
    return [one for one in found if one.blocks]


def names(found: Iterable[Finding]) -> tuple[str, ...]:
    """Return the ids of findings, each once."""
    return tuple(dict.fromkeys(one.id for one in found))


@lru_cache(maxsize=512)
def _found(text: str, blocks: Blocks, host: str, *, learned: bool) -> tuple[Finding, ...]:
    sentences = check if learned else check_rules
    if is_block(text):
        block = parse_block(text)
        return tuple(sentences(block.body, language=block.language))
    source = parse(text)
    found = check_content(source, blocks=_parsed(blocks), hosts=[host], check=sentences)
    return tuple(with_testimonial_findings(found, source=source))


@lru_cache(maxsize=32)
def _parsed(blocks: Blocks) -> dict[str, Block]:
    found = {}
    for name, text in blocks:
        try:
            found[name] = parse_block(text)
        except ContentError:
            continue  # the text that uses it says that it is missing
    return found


def neutral_sender(name: str) -> str:
    """Return the sender's name as given. Raises ConfigError when it tells on a locked screen what the mail is about.

    Also for a name without a letter that a mail header can hold.
    """
    told = {
        one.words for language in LANGUAGES for one in check_rules(name, language=language, where="subject")
    }
    if told:
        raise ConfigError(
            f"CLINIC_SHORT_NAME stands on locked screens as the sender of every email and may not say "
            f"{', '.join(sorted(map(repr, told)))}; use a name without words about health."
        )
    if not any(map(str.isalnum, ascii_name(name))):
        raise ConfigError(
            "CLINIC_SHORT_NAME: write the sender of every email with Latin letters; mail headers lose others."
        )
    return name


def check_hosts(hosts: Mapping[str, str]) -> None:
    """Check the names of hosts that every email shows: in its sender, its List-Id and its links.

    `hosts` maps settings to addresses. Raises ConfigError for one with a word about health.
    """
    for setting, address in hosts.items():
        if names_health(address):
            raise ConfigError(
                f"{setting}: “{address}” is seen by mail companies and on shared screens and may not name health. "
                "Use a domain without such words."
            )


def is_block(text: str) -> bool:
    """Tell whether a file is a shared block."""
    return "\nblock:" in text.partition("\n---")[0]
