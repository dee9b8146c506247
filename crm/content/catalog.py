"""The content list: items with their status in each language, and where each is used."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import distinct_on

from crm.content import approval, rules, service
from crm.content.blocks.shelf import Shelf
from crm.content.models import ContentItem, ContentVersion, VersionState
from crm.content.render.fields import LANGUAGES
from crm.content.testimonials.rules import AuthorizationTerms
from crm.core.db import db
from crm.staff.models import User

STATES = ("draft", "in_review", "approved", "expiring", "expired", "void", "outdated", "missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Filters of the list."""

    q: str = ""
    sequence: str = ""
    language: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageStatus:
    """An item in one language: its status, the live version, and the version in progress."""

    language: str
    state: str  # missing where no version was ever approved
    used: ContentVersion | None
    open: ContentVersion | None

    @property
    def states(self) -> frozenset[str]:
        """The states that a filter finds it by."""
        return frozenset({self.state, self.open.state} if self.open else {self.state})


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogRow:
    """One row of the list."""

    item: ContentItem
    statuses: Sequence[LanguageStatus]

    @property
    def title(self) -> str:
        """The subject, or the name of a block."""
        return title(self.item, self.statuses)


def title(item: ContentItem, statuses: Iterable[LanguageStatus]) -> str:
    """Return the subject in the first language that has one, else the purpose; for a block its name."""
    subjects = (one.subject for row in statuses for one in (row.used, row.open) if one)
    return next((said for said in subjects if said), item.label)


def titles(item_ids: Iterable[int]) -> dict[int, str]:
    """Return item id -> subject of its newest version, the English one where there is one; in one statement."""
    rows = db.session.execute(
        select(ContentVersion.item_id, ContentVersion.subject)
        .where(ContentVersion.item_id.in_(list(item_ids)), ContentVersion.subject != "")
        .ext(distinct_on(ContentVersion.item_id))
        .order_by(ContentVersion.item_id, ContentVersion.language, ContentVersion.number.desc())
    )
    return {row.item_id: row.subject for row in rows}


def is_subject_taken(subject: str) -> bool:
    """Tell whether the newest version of some email has this subject; emails are named by it."""
    return subject.casefold() in {known.casefold() for known in _subjects()}


def _subjects() -> Sequence[str]:
    newest = (
        select(ContentVersion.subject)
        .where(ContentVersion.state != VersionState.RETIRED)
        .ext(distinct_on(ContentVersion.item_id, ContentVersion.language))
        .order_by(ContentVersion.item_id, ContentVersion.language, ContentVersion.number.desc())
    )
    return db.session.scalars(newest).all()


def list_items(wanted: Filters, *, now: datetime) -> list[CatalogRow]:
    """Return the items that match, by key: blocks last."""
    items = db.session.scalars(
        select(ContentItem).order_by(ContentItem.kind == "block", ContentItem.key)
    ).all()
    known = statuses(now=now)
    lines = []
    for item in items:
        rows = [known.get((item.id, language)) or _missing(language) for language in LANGUAGES]
        if wanted.language:
            rows = [row for row in rows if row.language == wanted.language]
        if _matches(item, rows, wanted):
            lines.append(CatalogRow(item=item, statuses=rows))
    return lines


def _missing(language: str) -> LanguageStatus:
    return LanguageStatus(language=language, state="missing", used=None, open=None)


def _matches(item: ContentItem, rows: Iterable[LanguageStatus], wanted: Filters) -> bool:
    if wanted.sequence and item.key.partition("/")[0] != wanted.sequence:
        return False
    if wanted.state and not any(wanted.state in row.states for row in rows):
        return False
    return not wanted.q or _contains(item, rows, wanted.q.casefold().split())


def _contains(item: ContentItem, rows: Iterable[LanguageStatus], words: Sequence[str]) -> bool:
    """Tell whether each word is in the title, the key or a subject."""
    subjects = [one.subject for row in rows for one in (row.used, row.open) if one]
    texts = [text.casefold() for text in (item.title, item.key, *subjects)]
    return all(any(word in text for text in texts) for word in words)


def statuses(*, now: datetime, item_id: int | None = None) -> dict[tuple[int, str], LanguageStatus]:
    """Return (item id, language) -> today's status."""
    rows = (
        select(ContentVersion)
        .where(ContentVersion.state != VersionState.RETIRED)
        .order_by(ContentVersion.number.desc())
    )
    if item_id is not None:
        rows = rows.where(ContentVersion.item_id == item_id)
    by_place: dict[tuple[int, str], list[ContentVersion]] = {}
    for version in db.session.scalars(rows):
        by_place.setdefault((version.item_id, version.language), []).append(version)
    blocks = {language: service.shelf(language) for language in LANGUAGES}
    known = service.authorization_terms(one.source for versions in by_place.values() for one in versions)
    return {place: _standing(versions, blocks, known, now=now) for place, versions in by_place.items()}


def _standing(
    versions: Sequence[ContentVersion],
    blocks: Mapping[str, Shelf],
    terms: Mapping[str, AuthorizationTerms],
    *,
    now: datetime,
) -> LanguageStatus:
    used = next((one for one in versions if one.state == VersionState.APPROVED), None)
    first = versions[0]
    working = (
        first if first.state in (VersionState.DRAFT, VersionState.IN_REVIEW) and first is not used else None
    )
    state = "missing"
    if used is not None:
        fit = approval.fit_of(used, shelf=blocks[used.language])
        whole = fit is not None and service.is_authorized(used.source, terms=terms, now=now)
        state = rules.status(
            "approved",
            changed=not whole,
            expires_at=used.expires_at,
            superseded=False,
            older_block=fit is not None and fit.is_older,
            now=now,
        )
    return LanguageStatus(language=first.language, state=state, used=used, open=working)


def versions(item_id: int) -> Sequence[ContentVersion]:
    """Return all versions of an item, newest first within each language."""
    rows = select(ContentVersion).where(ContentVersion.item_id == item_id)
    return db.session.scalars(rows.order_by(ContentVersion.language, ContentVersion.number.desc())).all()


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """Where an item is used."""

    sequences: Sequence[tuple[int, str, int]] = field(
        default_factory=list
    )  # id, title, which email of it (from 1)
    campaigns: Sequence[str] = field(default_factory=list)
    emails: Sequence[ContentVersion] = field(default_factory=list)
    sent: int = 0

    @property
    def any(self) -> bool:
        """Whether it is used anywhere."""
        return bool(self.sequences or self.campaigns or self.emails)


_IN_SEQUENCES = text("""
    select s.id, s.title, step.at as number
    from sequence s
    join lateral (select plan from sequence_version v where v.sequence_id = s.id order by v.number desc limit 1) v on true
    join lateral jsonb_array_elements(coalesce(v.plan -> 'nodes', v.plan -> 'steps')) with ordinality as step(step, at) on true
    where step.step ->> 'item' = :key order by s.id
""")
_IN_CAMPAIGNS = text("select name from campaign where item_id = :id order by id desc limit 20")
_SENT = text("""
    select coalesce(sum(b.size), 0) from batch b join content_version v on v.id = b.content_version_id
    where v.item_id = :id and b.state = 'accepted'
""")


def find_uses(item: ContentItem) -> Uses:
    """Return where an item is used: sequences, campaigns, and for a block the emails it is in."""
    emails: list[ContentVersion] = []
    if item.kind == "block":
        for language in LANGUAGES:
            block = db.session.scalar(
                select(ContentVersion)
                .where(ContentVersion.item_id == item.id, ContentVersion.language == language)
                .limit(1)
            )
            emails += approval.emails_using(block) if block else []
    return Uses(
        sequences=[
            (row.id, row.title, row.number) for row in db.session.execute(_IN_SEQUENCES, {"key": item.key})
        ],
        campaigns=list(db.session.scalars(_IN_CAMPAIGNS, {"id": item.id})),
        emails=emails,
        sent=int(db.session.scalar(_SENT, {"id": item.id}) or 0),
    )


def display_names(actors: Iterable[str | None]) -> dict[str, str]:
    """Return actor -> display name; shipped content has no person."""
    known = {actor for actor in actors if actor}
    ids = {
        int(actor.removeprefix("staff:")): actor for actor in known if actor.removeprefix("staff:").isdigit()
    }
    found = {actor: "Shipped with the system" if actor == "shipped" else actor for actor in known}
    if ids:
        for user in db.session.scalars(select(User).where(User.id.in_(ids))):
            found[ids[user.id]] = user.name
    return found


def sequences() -> list[tuple[str, str]]:
    """Return (key, title) of every sequence, for the filter."""
    return [
        (row.key, row.title)
        for row in db.session.execute(text("select key, title from sequence order by id"))
    ]
