"""A changed block in the emails that hold it: what changes there, and the approval that carries over to all of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from crm.audit import service as audit
from crm.content import approval, claims_gate, diff, service
from crm.content.blocks.shelf import Shelf
from crm.content.editor import form_codec
from crm.content.events import ContentApproved
from crm.content.exceptions import service as exceptions
from crm.content.models import Approval, ContentVersion
from crm.content.render.fields import ContentError
from crm.core import clock
from crm.core.db import db
from crm.core.events import publish
from crm.staff import alerts

WROTE = "A reviewer of this change wrote this email, so another person has to approve it."
BLOCKED = "With the new block, the claims check stops this email."
VOID = "This email needs re-approval for another reason, too."
ENDED = "The approval of this email has ended."


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An email that holds a block. `left_out`: why the approval of the block's change is none for this email."""

    email: ContentVersion
    left_out: str | None


def holders(block: ContentVersion, *, reviewers: Collection[str] = ()) -> list[Holder]:
    """Return the approved emails that hold a block, and whether the approval of this version of it carries over to them."""
    shelf = service.shelf(block.language)
    blocks = {**shelf.current, block.item.key.removeprefix("block/"): block.source}
    return [
        Holder(email=email, left_out=_left_out(email, block, shelf, blocks, reviewers))
        for email in approval.emails_using(block)
    ]


def _left_out(
    email: ContentVersion,
    block: ContentVersion,
    shelf: Shelf,
    blocks: dict[str, str],
    reviewers: Collection[str],
) -> str | None:
    before = _before(email, block, shelf)
    if not service.is_unchanged(email.source, hash=email.hash, blocks=before):
        return VOID
    if email.expires_at is not None and email.expires_at <= clock.now():
        return ENDED
    if approval.authors(email) & set(reviewers):
        return WROTE
    return BLOCKED if _is_stopped(email, blocks) else None


def _before(email: ContentVersion, block: ContentVersion, shelf: Shelf) -> dict[str, str]:
    """Return today's blocks, but this one as it was when the email was approved."""
    name = block.item.key.removeprefix("block/")
    blocks = {**shelf.current}
    blocks.pop(name, None)
    then = shelf.as_of(email.approved_at).get(name) if email.approved_at else None
    return blocks if then is None else {**blocks, name: then}


def _is_stopped(email: ContentVersion, blocks: dict[str, str]) -> bool:
    try:
        found = claims_gate.blocking_by_rules(email.source, blocks=blocks, host=service.host())
    except ContentError:
        return True
    return bool(exceptions.left(found, item_key=email.item.key, language=email.language))


def carry_over(block: ContentVersion) -> None:
    """Approve the emails that hold a block, with its new version, in the names of those who approved the change.

    What they saw is the change, against the bytes approved before; an email's own approval lasts no longer than before.
    """
    given = list(approval.approvals_of(block).values())
    found = holders(block, reviewers=[one.reviewer for one in given])
    now = clock.now()
    for holder in found:
        if holder.left_out is None:
            _approve(holder.email, given, block=block, now=now)
    _tell(block, [holder for holder in found if holder.left_out])


def _approve(
    email: ContentVersion, given: Sequence[Approval], *, block: ContentVersion, now: datetime
) -> None:
    email.hash = service.digest(email.source, blocks=service.current_blocks(email.language))
    email.approved_at = now
    ends = [email.expires_at, *(one.expires_at for one in given)]
    until = min(end for end in ends if end is not None)
    email.expires_at = until
    db.session.add_all(
        Approval(
            version_id=email.id,
            role=one.role,
            reviewer=one.reviewer,
            hash=email.hash,
            at=now,
            expires_at=until,
        )
        for one in given
    )
    audit.record(
        "content.carried_over", object_type="content_version", object_id=email.id, detail={"block": block.id}
    )
    db.session.flush()
    publish(ContentApproved(version_id=email.id, item_id=email.item_id, language=email.language))


def _tell(block: ContentVersion, left: Sequence[Holder]) -> None:
    if not left:
        return
    what = "wait" if block.safety else "go out with the block they were approved with"
    alerts.raise_alert(
        key=f"voided:{block.id}",
        level="warning",
        text=f"{len(left)} emails with “{block.name}” are not approved with its new version. They {what} until they are.",
        link="/console/content?state=" + ("void" if block.safety else "outdated"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockChange:
    """What changed in one block of an email since its last approval, sentence by sentence."""

    name: str
    rows: Sequence[diff.Row]


def changes_in(email: ContentVersion, *, since: ContentVersion | None) -> list[BlockChange]:
    """Return what changed in the blocks of an email since a version of it was approved."""
    if since is None or since.approved_at is None or email.item.kind == "block":
        return []
    shelf = service.shelf(email.language)
    then = shelf.as_of(since.approved_at)
    shared = frozenset(service.block_names(since.source)) & then.keys() & shelf.current.keys()
    return [
        _change(name, then[name], shelf.current[name])
        for name in service.block_names(email.source)
        if name in shared and then[name] != shelf.current[name]
    ]


def _change(name: str, old: str, new: str) -> BlockChange:
    rows = diff.compare(form_codec.split_fields(old), form_codec.split_fields(new))
    return BlockChange(name=name, rows=[row for row in rows if row.kind != "same"])
