"""What a whole email needs beside good sentences: its warnings, its sources, its footer, its links."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from crm.content.claims import judge
from crm.content.claims.engine import Finding, finding
from crm.content.claims.readability import too_hard
from crm.content.claims.rulebook import Book, Severity, rulebook
from crm.content.claims.sentences import fold, plain_words, supports
from crm.content.render.source import (
    COMMERCIAL,
    PAGE,
    TRANSACTIONAL,
    URL_FIELDS,
    Block,
    BlockRef,
    Claim,
    Source,
)

Check = Callable[..., list[Finding]]

LARGEST = 102 * 1024  # bytes of HTML
OFF_LABEL, RISKS, EVIDENCE, EMERGENCY, NOT_ADVICE = (
    "off-label",
    ("risk-short", "risk-full"),
    "evidence",
    "emergency",
    "not-advice",
)
PATIENT_EDUCATION = frozenset({"prospect_edu", "referred_edu"})
NAMED_OPENLY = frozenset({"provider_nurture"})  # clinicians may read the topic in the subject

_DRUG = re.compile(r"ketamin|ketalar|spravato")
_ON_RESEARCH = re.compile(
    r"\bevidence\b|\bresearch\b|\bstud(?:y|ies)\b|\bevidencia\b|\bestudios?\b|\binvestigacion"
)
_SAYS_OFF_LABEL = re.compile(
    r"off[- ]label|fuera de (?:indicacion|etiqueta)|not (?:fda[- ])?approved|not approved|no (?:esta|ha) aprobad"
)
_RISKS_IN_TEXT = (
    r"dissociat|detached|cut off from|disocia|separad|desconect",
    r"blood pressure|presion",
    r"breath|respira",
    r"bladder|liver|bile|vejiga|higado|bilis|biliar",
    r"misus|abuse|addict|usar mal|abuso|adicc",
)
_LINK = re.compile(r"\]\(\s{0,5}<?([^()\s<>]{1,2000})|(https?://[^\s<>()\[\]]{1,2000})")
_IMAGE = re.compile(r"!\[[^\[\]]{0,500}\]|<img\b", re.I)


def check_content(
    source: Source,
    *,
    blocks: Mapping[str, Block],
    hosts: Iterable[str] = (),
    html: str | None = None,
    check: Check = judge.check,
) -> list[Finding]:
    """Return everything that is wrong with an email or page, missing things last.

    `blocks` are the shared blocks of its language by name, footers among them; `hosts` are the names its links may lead to beside
    link fields; `html` is the rendered mail, if there is one, for its size; `check` reads sentences, by rules alone if wanted.
    """
    book = rulebook(source.language)
    names = [part.name for part in source.parts if isinstance(part, BlockRef)]
    used = {name: blocks[name] for name in names if name in blocks}
    texts = {"body": source.body} | {f"block:{name}": block.body for name, block in used.items()}
    return [
        *_envelope(source, check),
        *_all_sentences(source, used, texts, check),
        *_all_links(book, texts, frozenset(hosts)),
        *_missing_blocks(book, source, used, _names_the_drug(texts.values())),
        *_unknown_blocks(book, names, blocks),
        *_wrong_language(book, source, used),
        *_claims(book, source),
        *_footer(book, source, blocks),
        *_measured(book, source, html),
    ]


def check_text(text: str, *, language: str) -> list[Finding]:
    """Return what is wrong with plain text that may become an email: sentences, and the warnings it would need."""
    book = rulebook(language)
    found = judge.check(text, language=language)
    plain = fold(text)[0]
    if not _DRUG.search(plain):
        return found
    if not _SAYS_OFF_LABEL.search(plain):
        found.append(finding(book.rule("off-label-missing")))
    if not all(re.search(risk, plain) for risk in _RISKS_IN_TEXT):
        found.append(finding(book.rule("risk-missing"), why="The list of side effects is incomplete."))
    return found


def _envelope(source: Source, check: Check) -> Iterator[Finding]:
    if source.stream == PAGE:
        return
    for where in ("subject", "preheader", "why"):
        text = getattr(source, where)
        place = "body" if where == "why" else "subject"
        for one in check(text, language=source.language, where=place):
            if one.id != "envelope-topic" or source.stream not in NAMED_OPENLY:
                yield replace(one, where=where)


def _all_sentences(
    source: Source, used: Mapping[str, Block], texts: Mapping[str, str], check: Check
) -> Iterator[Finding]:
    claims = [*source.claims, *(claim for block in used.values() for claim in block.claims)]
    for where, text in texts.items():
        for one in check(text, language=source.language):
            if (kept := _unless_cited(one, claims)) is not None:
                yield replace(kept, where=where)


def _unless_cited(one: Finding, claims: list[Claim]) -> Finding | None:
    """A number with its source is fine; what the reader thinks of a sourced sentence is for a reviewer to decide."""
    if not _cited(one.sentence, claims):
        return one
    if one.id == "statistic":
        return None
    return replace(one, severity=Severity.ASK) if one.unit is not None else one


def _cited(sentence: str, claims: list[Claim]) -> bool:
    """Whether a sentence with a number is one of the claims whose source is given."""
    return any(supports(claim.claim, sentence) for claim in claims)


def _all_links(book: Book, texts: Mapping[str, str], hosts: frozenset[str]) -> Iterator[Finding]:
    for where, text in texts.items():
        yield from _links(book, text, where, hosts)


def _links(book: Book, text: str, where: str, hosts: frozenset[str]) -> Iterator[Finding]:
    for found in _LINK.finditer(text):
        group = 1 if found[1] else 2
        address, (start, end) = unquote(found[group]), found.span(group)
        if address.strip("{} ") in URL_FIELDS:
            continue
        link = urlsplit(address)
        if link.scheme not in ("http", "https", "tel", "mailto") or (
            link.netloc and link.hostname not in hosts
        ):
            yield finding(book.rule("link-host"), text=text, start=start, end=end, where=where)
        if names_health(address):
            yield finding(book.rule("link-words"), text=text, start=start, end=end, where=where)
    for found in _IMAGE.finditer(text):
        yield finding(book.rule("image"), text=text, start=found.start(), end=found.end(), where=where)


def names_health(address: str) -> bool:
    """Tell whether an address or the name of a host contains a word about health."""
    return bool(re.search("|".join(_HEALTH_IN_LINKS), fold(address)[0]))


_HEALTH_IN_LINKS = (
    "ketamin", "pain", "dolor", "depress", "depresi", "migra", "fibro", "crps", "sdrc", "ptsd", "tept", "opioid", "anxi",
    "ansiedad", "infusi", "addict", "adicc", "psych", "psiq", "suicid", "cancer",
    "diagnos", "symptom", "sintoma", "treatment", "tratamiento",
)  # fmt: skip


def _names_the_drug(texts: Iterable[str]) -> bool:
    return bool(_DRUG.search(fold(" ".join(texts))[0]))


def _missing_blocks(
    book: Book, source: Source, used: Mapping[str, Block], names_the_drug: bool
) -> Iterator[Finding]:
    if source.stream in COMMERCIAL and EMERGENCY not in used:
        yield finding(book.rule("emergency-missing"))
    if source.stream in PATIENT_EDUCATION and NOT_ADVICE not in used:
        yield finding(book.rule("not-advice-missing"))
    if names_the_drug:
        yield from _missing_drug_blocks(book, source, used)


def _missing_drug_blocks(book: Book, source: Source, used: Mapping[str, Block]) -> Iterator[Finding]:
    if OFF_LABEL not in used:
        yield finding(book.rule("off-label-missing"))
    if not any(name in used for name in RISKS):
        yield finding(book.rule("risk-missing"))
    on_research = bool(_ON_RESEARCH.search(fold(source.purpose)[0]))
    if on_research and EVIDENCE not in used and not _cites_a_review(source):
        yield finding(book.rule("evidence-missing"))


def _cites_a_review(source: Source) -> bool:
    return any("cochrane" in claim.source.casefold() for claim in source.claims)


def _unknown_blocks(book: Book, names: Iterable[str], blocks: Mapping[str, Block]) -> Iterator[Finding]:
    for name in names:
        if name not in blocks:
            yield finding(book.rule("block-language"), why=f"Block “{name}”.")


def _wrong_language(book: Book, source: Source, used: Mapping[str, Block]) -> Iterator[Finding]:
    for name, block in used.items():
        if block.language != source.language:
            yield finding(book.rule("block-language"), why=f"Block “{name}” is in {block.language}.")


def _claims(book: Book, source: Source) -> Iterator[Finding]:
    body = plain_words(source.body)
    for claim in source.claims:
        if plain_words(claim.claim) not in body:
            yield finding(book.rule("claim-text"), why=f"Claim “{claim.id}”.")


def _footer(book: Book, source: Source, blocks: Mapping[str, Block]) -> Iterator[Finding]:
    if source.stream == PAGE:
        return
    footer = blocks.get("footer-service" if source.stream in TRANSACTIONAL else "footer")
    needed = {"clinic_name", "clinic_address"} | (
        {"unsubscribe_url"} if source.stream in COMMERCIAL else set()
    )
    if footer is None or not all(field in footer.body for field in needed):
        yield finding(book.rule("footer-missing"))


def _measured(book: Book, source: Source, html: str | None) -> Iterator[Finding]:
    if html is not None and len(html.encode()) > LARGEST:
        yield finding(book.rule("size"))
    measured = None if source.stream in NAMED_OPENLY else too_hard(source.body, language=source.language)
    if measured:
        yield finding(book.rule("reading-level"), why=measured)
