"""What the claims check asks about a sentence, and what reviewers answered.

An answer belongs to the sentence as it stands, with the sentence that it answers or continues: its hash is over both. It holds
in every text with that sentence, until one of its letters changes. Answers are kept with their author and become lines of the
corpus.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on

from crm.audit import service as audit
from crm.content import claims_gate, rules, service
from crm.content.claims import Finding
from crm.content.claims.units import Unit, key
from crm.content.models import Answer, AnswerVerdict, ContentVersion, VersionState
from crm.content.render.fields import ContentError
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotAllowed, NotFound

LONGEST_REASON = 1_000


@dataclass(frozen=True, slots=True)
class Question:
    """One sentence that the check is not sure about, and the newest answer to it."""

    digest: bytes
    finding: Finding
    kinds: tuple[str, ...]
    answer: Answer | None

    @property
    def is_open(self) -> bool:
        """Whether a reviewer still has to answer, or answered that it is a claim."""
        return self.answer is None or self.answer.verdict == AnswerVerdict.CLAIM


def digest_of(unit: Unit, *, language: str) -> bytes:
    """Return the hash that an answer is bound to."""
    return hashlib.sha256("\0".join((language, *key(unit))).encode()).digest()


def questions_of(version: ContentVersion) -> list[Question]:
    """Return what the check asks about a version, in reading order; nothing for a text that cannot be read."""
    try:
        blocks = service.current_blocks(version.language)
        found = claims_gate.findings(version.source, blocks=blocks, host=service.host())
    except ContentError:
        return []
    return with_answers(found, language=version.language)


def with_answers(found: Iterable[Finding], *, language: str) -> list[Question]:
    """Return the questions among findings, one per sentence, each with its newest answer."""
    asked: dict[bytes, list[Finding]] = {}
    for one in found:
        if one.asks and one.unit is not None:
            asked.setdefault(digest_of(one.unit, language=language), []).append(one)
    answers = _newest(asked)
    return [
        Question(digest, same[0], tuple(one.id for one in same), answers.get(digest))
        for digest, same in asked.items()
    ]


def _newest(digests: Collection[bytes]) -> Mapping[bytes, Answer]:
    if not digests:
        return {}
    rows = db.session.scalars(
        select(Answer)
        .where(Answer.digest.in_(digests))
        .ext(distinct_on(Answer.digest))
        .order_by(Answer.digest, Answer.id.desc())
    )
    return {row.digest: row for row in rows}


def answer(
    version: ContentVersion,
    *,
    authors: Collection[str],
    actor: str,
    roles: Collection[str],
    digest: str,
    verdict: str,
    claim: str,
    reason: str,
) -> Answer:
    """Answer what the check asks about one sentence of a version in review.

    Raises NotAllowed for its author and for roles that review nothing, Conflict outside of review, NotFound for a sentence
    that is not asked about, Invalid without a verdict, a reason, or the claim that supports it.
    """
    if version.state != VersionState.IN_REVIEW:
        raise Conflict("This version is not in review.")
    if actor in authors:
        raise NotAllowed("You wrote this version, so another person has to answer.")
    if all(rules.REVIEWERS[kind].isdisjoint(roles) for kind in rules.KINDS):
        raise NotAllowed("Your role cannot review content.")
    asked = next((one for one in questions_of(version) if one.digest.hex() == digest), None)
    if asked is None or asked.finding.unit is None:
        raise NotFound("Question not found.")
    _check_form(verdict=verdict, claim=claim, reason=reason)
    unit = asked.finding.unit
    row = Answer(
        digest=asked.digest,
        language=version.language,
        place=unit.where,
        sentence=unit.text,
        before=unit.before,
        kinds=list(asked.kinds),
        verdict=AnswerVerdict(verdict),
        claim=claim.strip() if verdict == AnswerVerdict.SUPPORTED else "",
        reason=reason.strip()[:LONGEST_REASON],
        version_id=version.id,
        author=actor,
        at=clock.now(),
    )
    db.session.add(row)
    db.session.flush()
    audit.record(
        "content.question_answered",
        object_type="content_version",
        object_id=version.id,
        detail={"verdict": verdict, "digest": digest},
    )
    return row


def _check_form(*, verdict: str, claim: str, reason: str) -> None:
    wrong: dict[str, list[str]] = {}
    if verdict not in list(AnswerVerdict):
        wrong["verdict"] = ["Choose an answer."]
    if verdict == AnswerVerdict.SUPPORTED and not claim.strip():
        wrong["claim"] = ["Enter the claim that supports this sentence."]
    if not reason.strip():
        wrong["reason"] = ["Say why."]
    if wrong:
        raise Invalid(wrong)


def corpus_lines() -> Iterator[dict[str, Any]]:
    """Yield the newest answer about each sentence as a line of the corpus, oldest first."""
    newest = (
        select(Answer.id).ext(distinct_on(Answer.digest)).order_by(Answer.digest, Answer.id.desc()).subquery()
    )
    for row in db.session.scalars(
        select(Answer).where(Answer.id.in_(select(newest.c.id))).order_by(Answer.id)
    ):
        line = {"id": f"answer-{row.id}", "lang": row.language, "where": row.place}
        line |= {"before": row.before} if row.before else {}
        yield line | {"text": row.sentence, "expect": row.kinds if row.verdict == AnswerVerdict.CLAIM else []}
