"""The review queue: which texts wait, for whom, and approvals of several that say the same as before."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text

from crm.content import approval, catalog, rules
from crm.content.editor import service as editor
from crm.content.models import ContentVersion, VersionState
from crm.core.db import db
from crm.core.errors import Invalid, Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A version in review. `kinds` are the approvals that the reader may give; `same`: its bytes were approved before."""

    version: ContentVersion
    given: Collection[str]
    kinds: tuple[str, ...]
    same: bool
    is_first: bool
    open_comments: int


# One statement for every text in review; what the claims check says is not asked here.
_WAITING = text("""
    select v.id, v.author, before.hash is not null and before.hash = v.hash as same, before.hash is null as is_first,
        array(select distinct s.author from content_autosave s where s.version_id = v.id) as hands,
        (select coalesce(jsonb_object_agg(a.role, a.reviewer), '{}') from content_approval a where a.version_id = v.id
            and a.hash = v.hash and (v.submitted_at is null or a.at >= v.submitted_at)) as given,
        (select count(*) from content_comment c where c.version_id = v.id and c.settled_at is null) as open_comments
    from content_version v left join lateral (
        select b.hash from content_version b where b.item_id = v.item_id and b.language = v.language
            and b.number < v.number and b.approved_at is not null order by b.number desc limit 1) before on true
    where v.state = 'in_review'
    order by coalesce(v.submitted_at, v.created_at), v.id
""")


def queue(*, actor: str, roles: Collection[str]) -> list[Waiting]:
    """Return every text in review, the one submitted first at the top."""
    rows = db.session.execute(_WAITING).all()
    versions = {
        one.id: one
        for one in db.session.scalars(
            select(ContentVersion).where(ContentVersion.id.in_([row.id for row in rows]))
        )
    }
    return [
        Waiting(
            version=versions[row.id],
            given=row.given,
            kinds=_kinds({row.author, *row.hands}, row.given, actor=actor, roles=roles),
            same=row.same,
            is_first=row.is_first,
            open_comments=row.open_comments,
        )
        for row in rows
    ]


def _kinds(
    authors: Collection[str], given: dict[str, str], *, actor: str, roles: Collection[str]
) -> tuple[str, ...]:
    return tuple(
        kind
        for kind in rules.KINDS
        if rules.person_problem(
            rules.ApprovalRequest(
                state=VersionState.IN_REVIEW,
                author=actor if actor in authors else "",
                actor=actor,
                roles=roles,
                kind=kind,
                given=given,
                changed=False,
                blocked=False,
                reviewers=approval.reviewers(),
            )
        )
        is None
    )


def mine(rows: Iterable[Waiting]) -> list[Waiting]:
    """Return those that wait for the reader, texts with new words first."""
    return sorted((row for row in rows if row.kinds), key=lambda row: row.same)


def count_mine(*, actor: str, roles: Collection[str]) -> int:
    """Return how many texts wait for this person."""
    return len(mine(queue(actor=actor, roles=roles)))


def after(rows: Sequence[Waiting], version_id: int) -> Waiting | None:
    """Return the one to review after this one: the next in the list, at its end the first."""
    ids = [row.version.id for row in rows]
    place = ids.index(version_id) + 1 if version_id in ids else 0
    rest = [row for row in (*rows[place:], *rows[:place]) if row.version.id != version_id]
    return rest[0] if rest else None


def ending(*, now: datetime) -> list[ContentVersion]:
    """Return the texts in use whose approval ends within 30 days, or has ended, and that nobody renews yet; first end first."""
    found = [
        one.used
        for one in catalog.statuses(now=now).values()
        if one.used is not None and one.state in ("expiring", "expired") and one.open is None
    ]
    return sorted(found, key=lambda version: (version.expires_at or now, version.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one act did: how many were approved, and each that was not, with the reason."""

    approved: int
    refused: Sequence[tuple[ContentVersion, str]]


def approve_same(ids: Iterable[int], *, actor: str, roles: Collection[str], kind: str, months: int) -> Pass:
    """Approve several texts whose bytes were approved before, renewing those whose approval ends. Raises Invalid for none.

    A text that may not be approved by this person today is left out, with the reason; the others are approved.
    """
    versions = [approval.get(version_id) for version_id in dict.fromkeys(ids)]
    if not versions:
        raise Invalid({"version": ["Choose at least one email."]})
    refused: list[tuple[ContentVersion, str]] = []
    for version in versions:
        try:
            with db.session.begin_nested():
                again = _renewal(version, actor=actor)
                approval.approve(again.id, actor=actor, roles=roles, kind=kind, months=months)
        except Refusal as error:
            refused.append((version, _words(error)))
    return Pass(approved=len(versions) - len(refused), refused=refused)


def _renewal(version: ContentVersion, *, actor: str) -> ContentVersion:
    if version.state != VersionState.IN_REVIEW:
        return editor.renew(version.id, actor=actor)
    before = approval.last_approved(version)
    if before is None or before.hash != version.hash:
        raise Invalid({"version": ["It has new words. Read it on its own page."]})
    return version


def _words(error: Refusal) -> str:
    return (
        " ".join(word for words in error.fields.values() for word in words)
        if isinstance(error, Invalid)
        else error.message
    )
