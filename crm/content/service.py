"""Approved content: what may be sent now, and the one rendering path."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Row, func, select, text
from sqlalchemy.dialects.postgresql import distinct_on

from crm.content import claims_gate
from crm.content.blocks.shelf import COLUMNS, Fit, Shelf, fit, shelves
from crm.content.claims import Finding
from crm.content.exceptions import service as exceptions
from crm.content.models import ContentItem, ContentVersion, VersionState
from crm.content.render import library
from crm.content.render.merge_fields import substitutions
from crm.content.render.rendering import ClinicFacts, Rendered, blocks_used, content_hash, render
from crm.content.render.source import ContentError, parse
from crm.content.testimonials import rules as testimonials_rules
from crm.content.testimonials import service as authorizations
from crm.content.testimonials.rules import AuthorizationTerms
from crm.core import current
from crm.core.config import Settings
from crm.core.db import db, execute_raw

__all__ = ["ContentError", "NotSendable", "Rendered", "Sendable", "sendable", "substitutions"]


@dataclass(frozen=True, slots=True)
class Sendable:
    """An approved version, rendered."""

    version_id: int
    rendered: Rendered


@dataclass(frozen=True, slots=True)
class NotSendable:
    """Why a version may not be sent now."""

    reason: str


@lru_cache(maxsize=8)
def facts_of(settings: Settings) -> ClinicFacts:
    """Return what every rendering shows about a clinic. Raises ConfigError for a name or a host that is not neutral."""
    clinic = settings.clinic
    claims_gate.check_hosts(
        {
            "CLINIC_FROM_EMAIL": clinic.from_email.rpartition("@")[2],
            "CLINIC_CARE_EMAIL": clinic.care_email.rpartition("@")[2],
            "PUBLIC_URL": urlsplit(settings.public_url).hostname or "",
        }
    )
    return ClinicFacts(
        name=clinic.name,
        short_name=claims_gate.neutral_sender(clinic.short_name),
        phone=clinic.phone,
        address=clinic.address,
        public_url=settings.public_url,
        physician=clinic.physician,
        portal_path="/refer",
    )


def clinic_facts() -> ClinicFacts:
    """Return what every rendering shows about the running app's clinic."""
    return facts_of(current.settings())


@lru_cache(maxsize=1)
def layout() -> str:
    """Return the MJML that frames every email."""
    return (library.TEMPLATES / "email" / "layout.mjml").read_text("utf-8")


_TEXTS = text(f"""
    select i.key, v.language, v.number, v.source, v.approved_at, false as safety, false as pending,
            v.state, v.hash, v.expires_at
        from content_version v join content_item i on i.id = v.item_id where v.id = :id
    union all
    select shelf.*, 'block', null, null from (select {COLUMNS}
        and v.language = (select language from content_version where id = :id)) shelf
""")


def sendable(version_id: int, *, now: datetime) -> Sendable | NotSendable:
    """Return the rendered version, if its approval still holds for exactly the bytes that would be sent.

    The hash over content, blocks and layout is computed anew each time: a changed byte anywhere voids the approval.
    """
    rows = db.session.execute(_TEXTS, {"id": version_id}).all()
    version = next((row for row in rows if row.state != "block"), None)
    if version is None:
        return NotSendable("content_missing")
    if reason := _approval_problem(version, now=now):
        return NotSendable(reason)
    try:
        blocks = _fit(version, shelves(row for row in rows if row.state == "block"))
        if blocks is None:
            return NotSendable("content_changed")
        rendered, blocked = _rendered(
            version.source, tuple(sorted(blocks.blocks.items())), layout(), clinic_facts()
        )
    except ContentError as error:
        return NotSendable(f"content_broken: {error.field}")
    if reason := _text_problem(version, blocked, now=now):
        return NotSendable(reason)
    return Sendable(version_id, rendered)


def _text_problem(version: Row[Any], blocked: Iterable[Finding], *, now: datetime) -> str | None:
    if left := exceptions.left(blocked, item_key=version.key, language=version.language):
        return f"content_refused: {left[0].id}"
    refused = authorizations.refusal(_parsed(version.source), now=now)
    return "content_not_authorized" if refused is not None else None


def _fit(row: Row[Any], known: Mapping[str, Shelf]) -> Fit | None:
    """Return the blocks that an approved text, with the columns of a version, is sent with today."""
    return fitting(
        row.source, hash=row.hash, approved_at=row.approved_at, shelf=known.get(row.language, Shelf())
    )


def fitting(source: str, *, hash: bytes, approved_at: datetime | None, shelf: Shelf) -> Fit | None:
    """Return the blocks that an approved text is sent with; None when it waits. Raises ContentError for an unreadable text."""
    return fit(
        shelf,
        names=blocks_used(_parsed(source)),
        approved_at=approved_at,
        hash=hash,
        digest=lambda blocks: digest(source, blocks=blocks),
    )


def _approval_problem(version: Row[Any], *, now: datetime) -> str | None:
    if version.state != VersionState.APPROVED:
        return "content_not_approved"
    if version.expires_at is not None and version.expires_at <= now:
        return "content_expired"
    return None


@lru_cache(maxsize=256)
def _rendered(
    source: str, blocks: tuple[tuple[str, str], ...], frame: str, clinic: ClinicFacts
) -> tuple[Rendered, list[Finding]]:
    """Render and check once per process and set of bytes, so that sending costs neither."""
    named = dict(blocks)
    rendered = render(parse(source), blocks=named, layout=frame, clinic=clinic)
    blocked = claims_gate.blocking_by_rules(source, blocks=named, host=_host(clinic))
    return rendered, blocked


@lru_cache(maxsize=1024)
def _digest(source: str, blocks: tuple[tuple[str, str], ...], frame: str) -> bytes:
    return bytes.fromhex(content_hash(_parsed(source), blocks=dict(blocks), layout=frame))


def host() -> str:
    """Return the clinic's own host, where links may lead."""
    return _host(clinic_facts())


def _host(clinic: ClinicFacts) -> str:
    return urlsplit(clinic.public_url).netloc


def digest(source: str, *, blocks: Mapping[str, str]) -> bytes:
    """Return the SHA-256 that an approval of this text is bound to; raises ContentError for text that cannot be read.

    For a block it is that of the block alone; for all else, of text, blocks and layout together.
    """
    if claims_gate.is_block(source):
        return hashlib.sha256(source.encode()).digest()
    return _digest(source, tuple(sorted(blocks.items())), layout())


def block_names(source: str) -> tuple[str, ...]:
    """Return the shared blocks a text is sent with, its footer among them; none for one that cannot be read."""
    try:
        return blocks_used(_parsed(source))
    except ContentError:
        return ()


_parsed = lru_cache(maxsize=1024)(parse)


def authorization_terms(sources: Iterable[str]) -> Mapping[str, AuthorizationTerms]:
    """Return the written authorizations that texts name, by reference, in at most one statement."""
    return authorizations.terms_by_reference({_testimonial(source) for source in sources})


def is_authorized(source: str, *, terms: Mapping[str, AuthorizationTerms], now: datetime) -> bool:
    """Tell whether a text quotes no patient, or its authorization allows the quotation today."""
    named = _testimonial(source)
    return not named or testimonials_rules.refusal(_parsed(source), terms.get(named), now=now) is None


def _testimonial(source: str) -> str:
    try:
        return "" if claims_gate.is_block(source) else _parsed(source).testimonial
    except ContentError:
        return ""


def is_unchanged(source: str, *, hash: bytes, blocks: Mapping[str, str]) -> bool:
    """Tell whether the content that would be sent has this hash."""
    try:
        return digest(source, blocks=blocks) == hash
    except ContentError:
        return False


def current_blocks(language: str) -> dict[str, str]:
    """Return the newest text of every shared block in one language, by name."""
    newest = (
        select(ContentItem.key, ContentVersion.source)
        .join(ContentVersion.item)
        .where(
            ContentItem.kind == "block",
            ContentVersion.language == language,
            ContentVersion.state == VersionState.APPROVED,
        )
        .ext(distinct_on(ContentItem.key))
        .order_by(ContentItem.key, ContentVersion.number.desc())
    )
    return {key.removeprefix("block/"): source for key, source in db.session.execute(newest)}


_LATEST = text(f"""
    select * from (
        select distinct on (i.key, v.language) i.key, v.language, v.number, v.source, v.approved_at, false as safety,
            false as pending, v.id, v.hash, v.expires_at
        from content_version v join content_item i on i.id = v.item_id
        where v.state = 'approved' and i.key = any(:keys) and i.kind <> 'block'
        order by i.key, v.language, v.number desc) latest
    union all
    select shelf.*, null, null, null from (select {COLUMNS}) shelf
""")


def shelf(language: str) -> Shelf:
    """Return the versions of the shared blocks in one language."""
    rows = db.session.execute(text(f"select {COLUMNS} and v.language = :language"), {"language": language})
    return shelves(rows).get(language, Shelf())


def newest_approved(keys: Iterable[str], *, now: datetime) -> dict[tuple[str, str], int]:
    """Return (item key, language) -> id of the newest approved version, where its approval holds today. One statement.

    A version that expired, or whose text or layout changed since, is omitted, and its emails wait. An older version never
    replaces it. A changed block makes it wait only after a safety change.
    """
    rows = db.session.execute(_LATEST, {"keys": list(keys)}).all()
    emails = [row for row in rows if row.id is not None]
    blocks = shelves(row for row in rows if row.id is None)
    known = authorization_terms(row.source for row in emails)
    return {
        (row.key, row.language): row.id
        for row in emails
        if _holds(row, blocks, now=now) and is_authorized(row.source, terms=known, now=now)
    }


def _holds(row: Row[Any], known: Mapping[str, Shelf], *, now: datetime) -> bool:
    """Tell whether an approval has not ended, and the text with its blocks is what was approved."""
    if row.expires_at is not None and row.expires_at <= now:
        return False
    try:
        return _fit(row, known) is not None
    except ContentError:
        return False


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an email, and the stream it belongs to."""

    id: int
    stream: str


_TRANSACTIONAL = """
    select v.id, i.stream from content_version v join content_item i on i.id = v.item_id
    where i.key = :key and v.state = 'approved' and v.language in (:language, 'en')
    order by v.language = :language desc, v.number desc limit 1
"""


def transactional_version(kind: str, *, language: str) -> Version | None:
    """Return the newest approved version of a transactional email, in English where the language has none.

    Also when its approval has expired: the email is queued, held before sending, and sent once approved again.
    """
    row = execute_raw(_TRANSACTIONAL, {"key": f"email/{kind}", "language": language}).first()
    if row is not None and row.stream is None:
        raise ContentError("stream", "is missing.")
    return Version(row.id, row.stream) if row else None


def missing_approvals(keys: Iterable[str], *, language: str, now: datetime) -> list[str]:
    """Return which of these emails have no approved version in a language today, in their order."""
    there = newest_approved(keys, now=now)
    return [key for key in keys if (key, language) not in there]


def count_waiting() -> int:
    """Return how many versions wait for a reviewer."""
    return (
        db.session.scalar(
            select(func.count())
            .select_from(ContentVersion)
            .where(ContentVersion.state == VersionState.IN_REVIEW)
        )
        or 0
    )
