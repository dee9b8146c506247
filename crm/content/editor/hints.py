"""The check's findings as an editor shows them: where they stand in the field, and what one click would write there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crm.content import claims_gate, service
from crm.content.claims import Finding
from crm.content.exceptions import rules as exception_rules
from crm.content.exceptions import service as exceptions
from crm.content.models import ContentException, ContentVersion
from crm.content.questions import service as questions
from crm.content.questions.service import Question
from crm.content.render.fields import ContentError

LONGEST_SENTENCE = 700
BLOCKS = {  # a finding that says something is missing -> the block that says it
    "off-label-missing": "off-label",
    "risk-missing": "risk-short",
    "evidence-missing": "evidence",
    "emergency-missing": "emergency",
    "not-advice-missing": "not-advice",
}
PLACES = {"body": "Text", "subject": "Subject", "preheader": "Preview line", "why": "Why they get it"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """One finding. Offsets count UTF-16 units in the field, as a browser does; -1 where there is nothing to point at."""

    number: int
    rule: str
    title: str
    severity: str
    where: str
    place: str
    words: str
    why: str
    suggestion: str
    start: int = -1
    end: int = -1
    from_: int = -1  # of the sentence that the suggestion would stand for
    to: int = -1
    block: str = ""
    nearest: tuple[str, ...] = ()
    question: Question | None = None
    digest: str = ""  # what an exception would be bound to; empty where none is possible
    exception: ContentException | None = None  # signed or asked for

    @property
    def stops(self) -> bool:
        """Whether this finding keeps the text from being submitted."""
        return self.severity in ("BLOCK", "REQUIRE") and not self.is_signed

    @property
    def is_signed(self) -> bool:
        """Whether two people let it pass."""
        return self.exception is not None and self.exception.is_signed

    @property
    def asks(self) -> bool:
        """Whether a reviewer still has to answer about this sentence."""
        return self.question is not None and self.question.is_open


@dataclass(frozen=True, slots=True)
class Report:
    """What the check says now. `problem` is why the text cannot be read at all; then there are no findings."""

    findings: Sequence[Hint]
    problem: str = ""

    @property
    def stops(self) -> bool:
        """Whether the text cannot be submitted."""
        return bool(self.problem) or any(one.stops for one in self.findings)


def check_version(version: ContentVersion) -> Report:
    """Check a version with the blocks it would leave with today."""
    blocks = service.current_blocks(version.language)
    try:
        found = claims_gate.findings(version.source, blocks=blocks, host=service.host())
    except ContentError as error:
        return Report([], f"{error.field}: {error.detail}")
    body = version.source.partition("\n---")[2].partition("\n")[2].replace("\r\n", "\n")
    asked = {one.finding: one for one in questions.with_answers(found, language=version.language)}
    shown = [one for one in found if not one.asks or one in asked]  # one question a sentence
    told = [_told(number, one, body, asked.get(one)) for number, one in enumerate(shown)]
    return Report(_with_exceptions(told, shown, version))


def _with_exceptions(told: Sequence[Hint], found: Sequence[Finding], version: ContentVersion) -> list[Hint]:
    digests = [
        exceptions.digest_of(one, item_key=version.item.key, language=version.language)
        if exception_rules.may_be_signed(one)
        else b""
        for one in found
    ]
    known = exceptions.newest({digest for digest in digests if digest})
    return [
        replace(hint, digest=digest.hex(), exception=known.get(digest))
        for hint, digest in zip(told, digests, strict=True)
    ]


def _told(number: int, one: Finding, body: str, question: Question | None) -> Hint:
    texts = {"body": (body, 1 if body.startswith("\n") else 0)}
    text, shift = texts.get(one.where, ("", 0))
    start = end = from_ = to = -1
    if text and one.words:
        start, end = _units(text, one.start) - shift, _units(text, one.end) - shift
        at = text.rfind(one.sentence, 0, one.end + len(one.sentence))
        if at >= 0 and at <= one.start and len(one.sentence) <= LONGEST_SENTENCE:
            from_, to = _units(text, at) - shift, _units(text, at + len(one.sentence)) - shift
    elif one.where in ("subject", "preheader") and one.words:
        start, end = one.start, one.end
    return Hint(
        number=number,
        rule=one.id,
        title=one.rule,
        severity=one.severity.value,
        where=one.where,
        place=PLACES.get(one.where, one.where.replace("block:", "Block ")),
        words=one.words,
        why=one.why,
        suggestion=one.suggestion,
        start=start,
        end=end,
        from_=from_,
        to=to,
        block=BLOCKS.get(one.id, ""),
        nearest=one.nearest,
        question=question,
    )


def _units(text: str, at: int) -> int:
    """An offset in characters as an offset in UTF-16 units."""
    return at if text.isascii() else len(text[:at].encode("utf-16-le")) // 2


def apply_suggestion(body: str, one: Hint) -> str:
    """Return the field's text with a finding's suggestion, or its block, in place."""
    if one.block:
        return body.rstrip("\n") + f"\n\n[[block: {one.block}]]\n"
    if one.from_ < 0:
        return body
    raw = body.encode("utf-16-le")
    return (raw[: one.from_ * 2] + one.suggestion.encode("utf-16-le") + raw[one.to * 2 :]).decode("utf-16-le")
