"""Approval of content: submit, approve, expire and retire versions.

Every verb locks the version's row, so that two presses at once are one after the other.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, text

from crm.audit import service as audit
from crm.content import claims_gate, preview, rules, service
from crm.content.blocks.shelf import Fit, Shelf
from crm.content.claims import Finding
from crm.content.claims.document import LARGEST
from crm.content.events import BlockApproved, ContentApproved
from crm.content.exceptions import service as exceptions
from crm.content.models import Approval, Autosave, ContentItem, ContentVersion, VersionState
from crm.content.questions import service as questions
from crm.content.render.fields import ContentError
from crm.content.render.source import parse
from crm.content.testimonials import service as testimonials
from crm.core import clock, current
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotAllowed, NotFound
from crm.core.events import publish
from crm.staff import alerts
from crm.staff import service as staff
from crm.staff.notifications import service as notifications
from crm.staff.notifications.models import NotificationKind


def reviewers() -> int:
    """Return how many people of this clinic look at a text before it leaves."""
    return current.settings().reviewers


def get(version_id: int, *, lock: bool = False) -> ContentVersion:
    """Return a version. Raises NotFound."""
    found = db.session.get(
        ContentVersion,
        version_id,
        with_for_update={"of": ContentVersion} if lock else None,
        populate_existing=lock,
    )
    if found is None:
        raise NotFound("Version not found.")
    return found


def authors(version: ContentVersion) -> frozenset[str]:
    """Return everyone who wrote part of a version; none of them may approve it."""
    hands = db.session.scalars(select(Autosave.author).where(Autosave.version_id == version.id).distinct())
    return frozenset({version.author, *hands})


def approvals_of(version: ContentVersion) -> dict[str, Approval]:
    """Return the approvals of exactly these bytes since they were submitted, by kind."""
    rows = select(Approval).where(Approval.version_id == version.id, Approval.hash == version.hash)
    if version.submitted_at is not None:
        rows = rows.where(Approval.at >= version.submitted_at)
    return {one.role: one for one in db.session.scalars(rows.order_by(Approval.id))}


def has_changed(version: ContentVersion) -> bool:
    """Tell whether the text, a block in it or the layout changed since it was submitted or approved."""
    if version.item.kind == "block" and not version.hash:
        return False  # shipped: approved with each email that uses it
    blocks = service.current_blocks(version.language)
    return not service.is_unchanged(version.source, hash=version.hash, blocks=blocks)


def testimonial_problem(version: ContentVersion) -> str | None:
    """Return why the patient's words in a version may not be printed today; None when they may, or there are none."""
    if version.item.kind == "block":
        return None
    try:
        return testimonials.refusal(parse(version.source), now=clock.now())
    except ContentError:
        return None  # what cannot be read says so itself


def is_superseded(version: ContentVersion) -> bool:
    """Tell whether a newer version of the same text is approved."""
    return newer_approved(version) is not None


def newer_approved(version: ContentVersion) -> int | None:
    """Return the newest approved version that stands above this one, or None."""
    return db.session.scalar(
        select(ContentVersion.id)
        .where(
            ContentVersion.item_id == version.item_id,
            ContentVersion.language == version.language,
            ContentVersion.state == VersionState.APPROVED,
            ContentVersion.number > version.number,
        )
        .order_by(ContentVersion.number.desc())
        .limit(1)
    )


def last_approved(version: ContentVersion) -> ContentVersion | None:
    """Return the version that was approved last before this one."""
    return db.session.scalar(
        select(ContentVersion)
        .where(
            ContentVersion.item_id == version.item_id,
            ContentVersion.language == version.language,
            ContentVersion.approved_at.is_not(None),
            ContentVersion.number < version.number,
        )
        .order_by(ContentVersion.number.desc())
        .limit(1)
    )


def status_of(version: ContentVersion, *, now: datetime) -> str:
    """Return what a version is worth today; see `rules.standing`."""
    approved = version.state == VersionState.APPROVED
    fit = fit_of(version, shelf=service.shelf(version.language)) if approved else None
    return rules.status(
        version.state,
        changed=approved and (fit is None or testimonial_problem(version) is not None),
        older_block=fit is not None and fit.is_older,
        expires_at=version.expires_at,
        superseded=approved and is_superseded(version),
        now=now,
    )


def fit_of(version: ContentVersion, *, shelf: Shelf) -> Fit | None:
    """Return the blocks that an approved version is sent with; None when it waits for a new approval."""
    if version.item.kind == "block":
        fresh = not version.hash or service.is_unchanged(version.source, hash=version.hash, blocks={})
        return Fit(shelf.current, is_older=False) if fresh else None
    try:
        return service.fitting(
            version.source, hash=version.hash, approved_at=version.approved_at, shelf=shelf
        )
    except ContentError:
        return None


def submit(version_id: int, *, actor: str) -> ContentVersion:
    """Submit a draft for review, or resubmit a version whose approval is no longer valid.

    Raises Conflict for any other state, and Invalid while the check finds something that may not go out.
    """
    version = get(version_id, lock=True)
    now = clock.now()
    state = status_of(version, now=now)
    if state not in ("draft", "void", "expired"):
        raise Conflict("You can submit only a draft, or a text that needs re-approval.")
    blocks = service.current_blocks(version.language)
    refused = claims_gate.names(_unsigned(version, blocks))
    if refused:
        raise Invalid(
            {
                "body": [
                    f"The claims check found problems that must be fixed: {', '.join(refused)}. Fix them, then submit again."
                ]
            }
        )
    if why := testimonial_problem(version):
        raise Invalid({"testimonial": [why]})
    if rules.is_unfinished(version.source):
        raise Invalid({"body": ["Replace the line “…” with your text."]})
    _fits(version)
    version.state, version.submitted_by, version.submitted_at = VersionState.IN_REVIEW, actor, now
    version.hash = service.digest(version.source, blocks=blocks)
    version.approved_at = version.expires_at = None
    audit.record("content.submitted", object_type="content_version", object_id=version.id)
    alerts.close(f"content:{version.id}")
    alerts.close(f"changes:{version.id}")
    alerts.raise_alert(
        key=f"review:{version.id}",
        level="info",
        text=f"“{version.name}” ({version.language}) waits for review.",
        link=f"/console/content/versions/{version.id}",
    )
    db.session.flush()
    _ask_reviewers(version)
    if version.safety:
        _tell_waiting(version)
    return version


def _ask_reviewers(version: ContentVersion) -> None:
    """Notify staff who may review a version, but for those who wrote it."""
    wrote = authors(version)
    able = [user.id for user in staff.able_to("review_content") if f"staff:{user.id}" not in wrote]
    notifications.notify(
        able,
        kind=NotificationKind.REVIEW,
        subject=f"{version.name} ({version.language})",
        link=f"/console/content/versions/{version.id}",
    )


def _tell_waiting(block: ContentVersion) -> None:
    if users := emails_using(block):
        alerts.raise_alert(
            key=f"safety:{block.id}",
            level="danger",
            text=f"A safety change of “{block.name}” ({block.language}): {len(users)} emails wait until it is approved.",
            link=f"/console/content/versions/{block.id}",
        )


def _fits(version: ContentVersion) -> None:
    """Some mailboxes cut an email off after 102 KB, and its footer with it."""
    if len(preview.rendering(version).html.encode()) > LARGEST:
        raise Invalid(
            {"body": ["The email is longer than 102 KB, so mailboxes would cut off its end. Shorten it."]}
        )


def approval_request(
    version: ContentVersion, *, actor: str, roles: Collection[str], kind: str
) -> rules.ApprovalRequest:
    """Return the facts that decide whether this person may give an approval."""
    by_hand = authors(version)
    return rules.ApprovalRequest(
        state=version.state,
        author=actor if actor in by_hand else version.author,
        actor=actor,
        roles=roles,
        kind=kind,
        given={role: one.reviewer for role, one in approvals_of(version).items()},
        changed=has_changed(version),
        blocked=_blocked(version),
        open_questions=sum(one.is_open for one in questions.questions_of(version)),
        unauthorized=testimonial_problem(version),
        reviewers=reviewers(),
    )


def _blocked(version: ContentVersion) -> bool:
    try:
        return bool(_unsigned(version, service.current_blocks(version.language)))
    except ContentError:
        return True  # what cannot be read cannot go out


def _unsigned(version: ContentVersion, blocks: Mapping[str, str]) -> list[Finding]:
    """Return what stops a text and no signed exception lets pass."""
    found = claims_gate.blocking(version.source, blocks=blocks, host=service.host())
    return exceptions.left(found, item_key=version.item.key, language=version.language)


def approve(version_id: int, *, actor: str, roles: Collection[str], kind: str, months: int = 12) -> bool:
    """Say yes to exactly these bytes; return whether the version is approved now. Raises NotAllowed with the reason."""
    version = get(version_id, lock=True)
    why = rules.approval_problem(approval_request(version, actor=actor, roles=roles, kind=kind))
    if why is not None:
        raise NotAllowed(why)
    now = clock.now()
    until = rules.expiry(now, months=months)
    db.session.add(
        Approval(
            version_id=version.id, role=kind, reviewer=actor, hash=version.hash, at=now, expires_at=until
        )
    )
    audit.record(
        "content.approved",
        object_type="content_version",
        object_id=version.id,
        detail={"kind": kind, "months": months},
    )
    db.session.flush()
    if not rules.is_complete(approvals_of(version), reviewers=reviewers()):
        return False
    _activate(version, now=now)
    return True


def _activate(version: ContentVersion, *, now: datetime) -> None:
    block = version.item.kind == "block"
    version.state, version.approved_at = VersionState.APPROVED, now
    # a block goes out only inside emails, and their approvals end by themselves
    version.expires_at = None if block else _until(version)
    db.session.flush()
    alerts.close(f"review:{version.id}")
    alerts.close(f"comment:{version.id}")
    alerts.close(f"safety:{version.id}")
    alerts.close(f"content-expiry:{version.item_id}:{version.language}")
    if block:
        publish(BlockApproved(version_id=version.id))
    else:
        publish(ContentApproved(version_id=version.id, item_id=version.item_id, language=version.language))


def _until(version: ContentVersion) -> datetime:
    """The first end counts: of an approval, an authorization of a patient's words, or a signed exception."""
    ends = [one.expires_at for one in approvals_of(version).values()]
    blocks = service.current_blocks(version.language)
    found = claims_gate.blocking(version.source, blocks=blocks, host=service.host())
    papers = (
        testimonials.ends_at(parse(version.source)),
        exceptions.ends_at(found, item_key=version.item.key, language=version.language),
    )
    return min([*ends, *(end for end in papers if end is not None)])


def emails_using(block: ContentVersion) -> Sequence[ContentVersion]:
    """Return the approved emails in the block's language that insert it, footers included, by key."""
    name = block.item.key.removeprefix("block/")
    rows = db.session.scalars(
        select(ContentVersion)
        .join(ContentVersion.item)
        .where(
            ContentItem.kind != "block",
            ContentVersion.language == block.language,
            ContentVersion.state == VersionState.APPROVED,
        )
        .order_by(ContentItem.key, ContentVersion.number.desc())
    ).all()
    newest: dict[int, ContentVersion] = {}
    for row in rows:
        newest.setdefault(row.item_id, row)
    return [row for row in newest.values() if name in service.block_names(row.source)]


def withdraw(version_id: int, *, actor: str) -> None:
    """Let its author have a version back from review."""
    version = get(version_id, lock=True)
    if version.state != VersionState.IN_REVIEW or actor not in (authors(version) | {version.submitted_by}):
        raise Conflict("Only the author or submitter can withdraw a version, and only while it is in review.")
    back_to_draft(version)
    audit.record("content.taken_back", object_type="content_version", object_id=version.id)


def back_to_draft(version: ContentVersion) -> None:
    """Take a version out of review; what was approved until then counts no more."""
    version.state, version.hash = VersionState.DRAFT, b""
    version.submitted_at = version.submitted_by = None
    alerts.close(f"review:{version.id}")
    db.session.flush()


def retire(version_id: int) -> None:
    """Take a version out of use for good; what would send it waits until something newer is approved."""
    version = get(version_id, lock=True)
    if version.state == VersionState.RETIRED:
        raise Conflict("This version is retired already.")
    version.state = VersionState.RETIRED
    alerts.close(f"review:{version.id}")
    alerts.close(f"safety:{version.id}")
    audit.record("content.retired", object_type="content_version", object_id=version.id)
    db.session.flush()


_ENDING = text("""
    select distinct on (v.item_id, v.language) v.id, v.item_id, v.language, v.expires_at, v.approved_at,
        coalesce(nullif(v.subject, ''), i.title) as name
    from content_version v join content_item i on i.id = v.item_id
    where v.state = 'approved' and i.kind <> 'block' order by v.item_id, v.language, v.number desc
""")

# A version that nothing waits to send and that a newer one stands above is of the past.
_RETIRE = text("""
    update content_version v set state = 'retired', version = version + 1
    where v.state = 'approved' and exists (
            select 1 from content_version n where n.item_id = v.item_id and n.language = v.language
                and n.state = 'approved' and n.number > v.number)
        and not exists (select 1 from batch b where b.content_version_id = v.id
            and b.state in ('ready', 'held', 'sending', 'uncertain'))
    returning v.id
""")


def run_maintenance() -> dict[str, int]:
    """Remind staff of approvals that end in 30 and in 7 days or have ended, and retire what nobody uses any more."""
    now = clock.now()
    found = {"retired": len(db.session.execute(_RETIRE).all()), "reminded": 0}
    for row in db.session.execute(_ENDING):
        mark = rules.reminder_due(row.expires_at, now=now)
        if mark is not None and not _said(row, mark):
            _remind(row, mark)
            found["reminded"] += 1
    return found


def _remind(row: Row[Any], mark: int) -> None:
    """One alert per mark, also when the one before was closed; a graver one takes the place of the last."""
    key = f"content-expiry:{row.item_id}:{row.language}"
    alerts.close(key)
    words = f"ends within {mark} days" if mark else "has ended; emails with it wait"
    alerts.raise_alert(
        key=key,
        level="warning" if mark <= rules.REMIND[1].days else "info",
        text=f"The approval of “{row.name}” ({row.language}) {words}.",
        link=f"/console/content/versions/{row.id}",
    )
    audit.record("content.reminded", object_type="content_version", object_id=row.id, detail={"days": mark})


_SAID = text("""
    select 1 from audit_entry where action = 'content.reminded' and object_type = 'content_version'
        and object_id = :id and (detail ->> 'days')::int <= :mark and at >= :since limit 1
""")


def _said(row: Row[Any], mark: int) -> bool:
    told = {"id": row.id, "mark": mark, "since": row.approved_at}
    return db.session.execute(_SAID, told).first() is not None
