"""What reviewers and authors say to each other about a version: on one sentence or on all of it, until it is settled."""

from collections.abc import Collection, Sequence

from sqlalchemy import select

from crm.audit import service as audit
from crm.content import approval, rules
from crm.content.models import Comment, VersionState
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotAllowed, NotFound
from crm.staff import alerts

LONGEST_COMMENT = 2_000


def add_comment(version_id: int, *, actor: str, body: str, sentence: str = "", kind: str = "comment") -> int:
    """Say something about one sentence of a version, or (no sentence) about all of it; return the id."""
    said = body.strip()
    if not said:
        raise Invalid({"comment": ["Enter a comment."]})
    version = approval.get(version_id)
    row = Comment(
        version_id=version.id,
        kind=kind,
        sentence=sentence.strip()[:LONGEST_COMMENT],
        body=said[:LONGEST_COMMENT],
        author=actor,
        at=clock.now(),
    )
    db.session.add(row)
    db.session.flush()
    audit.record("content.commented", object_type="content_version", object_id=version_id)
    if version.state == VersionState.IN_REVIEW:
        alerts.raise_alert(
            key=f"comment:{version.id}",
            level="info",
            text=f"A comment on “{version.name}” ({version.language}) needs a reply.",
            link=f"/console/content/versions/{version.id}",
        )
    return row.id


def resolve(comment_id: int, *, actor: str) -> Comment:
    """Mark a comment as resolved. Raises NotFound."""
    row = db.session.get(Comment, comment_id)
    if row is None:
        raise NotFound("Comment not found.")
    if row.settled_at is None:
        row.settled_by, row.settled_at = actor, clock.now()
        db.session.flush()
        if all(one.settled_at for one in comments_of(row.version_id)):
            alerts.close(f"comment:{row.version_id}")
    return row


def comments_of(version_id: int) -> Sequence[Comment]:
    """Return what was said about a version, oldest first."""
    return db.session.scalars(
        select(Comment).where(Comment.version_id == version_id).order_by(Comment.id)
    ).all()


def request_changes(version_id: int, *, actor: str, roles: Collection[str], reason: str) -> None:
    """Give a version back to its author, with the reason; approvals given so far count no more."""
    version = approval.get(version_id, lock=True)
    if version.state != VersionState.IN_REVIEW:
        raise Conflict("This version is not in review.")
    if all(rules.REVIEWERS[kind].isdisjoint(roles) for kind in rules.KINDS):
        raise NotAllowed("Your role cannot review content.")
    add_comment(version_id, actor=actor, body=reason, kind="changes")
    approval.back_to_draft(version)
    alerts.close(f"comment:{version.id}")
    alerts.raise_alert(
        key=f"changes:{version.id}",
        level="info",
        text=f"Changes requested in “{version.name}” ({version.language}).",
        link=f"/console/content/drafts/{version.id}",
    )
    audit.record("content.changes_asked", object_type="content_version", object_id=version.id)
