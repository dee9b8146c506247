"""Exceptions from the claims check: asked for, signed by two people, in force until their end.

An exception belongs to one email or block, one finding and one sentence: its hash is over all three, so that a changed letter
ends it. It is asked again before every sending.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on

from crm.audit import service as audit
from crm.content.claims import Finding
from crm.content.exceptions import rules
from crm.content.models import ContentException, ContentVersion
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotAllowed, NotFound
from crm.staff import alerts

LONGEST_REASON = 1_000


def digest_of(finding: Finding, *, item_key: str, language: str) -> bytes:
    """Return the hash that an exception is bound to. A sentence of a shared block belongs to the block, not to the email."""
    block = finding.where.removeprefix("block:")
    place = f"block/{block}" if block != finding.where else item_key
    sentence = " ".join(finding.sentence.split())
    return hashlib.sha256("\0".join((place, language, finding.id, sentence)).encode()).digest()


def newest(digests: Collection[bytes]) -> Mapping[bytes, ContentException]:
    """Return the newest exception about each finding that neither ended nor was ended, signed or not."""
    if not digests:
        return {}
    rows = db.session.scalars(
        select(ContentException)
        .where(
            ContentException.digest.in_(digests),
            ContentException.ended_at.is_(None),
            ContentException.ends_at > clock.now(),
        )
        .ext(distinct_on(ContentException.digest))
        .order_by(ContentException.digest, ContentException.id.desc())
    )
    return {row.digest: row for row in rows}


def left(found: Iterable[Finding], *, item_key: str, language: str) -> list[Finding]:
    """Return the findings that no exception in force lets pass; asks the database only where one might."""
    stops = list(found)
    signed = in_force(stops, item_key=item_key, language=language)
    return [one for one in stops if digest_of(one, item_key=item_key, language=language) not in signed]


def in_force(found: Iterable[Finding], *, item_key: str, language: str) -> Mapping[bytes, ContentException]:
    """Return the exceptions that let findings pass today, by hash."""
    digests = {
        digest_of(one, item_key=item_key, language=language) for one in found if rules.may_be_signed(one)
    }
    return {digest: row for digest, row in newest(digests).items() if row.is_signed}


def ends_at(found: Iterable[Finding], *, item_key: str, language: str) -> datetime | None:
    """Return when the first exception that a text rests on ends."""
    return min(
        (row.ends_at for row in in_force(found, item_key=item_key, language=language).values()), default=None
    )


def get(exception_id: int) -> ContentException:
    """Return an exception, locked. Raises NotFound."""
    found = db.session.get(ContentException, exception_id, with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound("Exception not found.")
    return found


def request_exception(
    version: ContentVersion, *, found: Sequence[Finding], digest: str, reason: str, days: int, actor: str
) -> ContentException:
    """Ask for an exception for one finding of a version. `found`: what the claims check says about it today.

    Raises NotFound for a finding that is not there or that nothing lets pass, Conflict where one is asked for already, Invalid
    without a reason or a time.
    """
    key, language = version.item.key, version.language
    known = {
        digest_of(one, item_key=key, language=language): one for one in found if rules.may_be_signed(one)
    }
    one = next((one for number, one in known.items() if number.hex() == digest), None)
    if one is None:
        raise NotFound("No exception is possible here.")
    wrong = {
        **({} if reason.strip() else {"reason": ["Say why the sentence is right."]}),
        **({} if days in rules.DAYS else {"days": ["Choose how long it lasts."]}),
    }
    if wrong:
        raise Invalid(wrong)
    if newest([bytes.fromhex(digest)]):
        raise Conflict("An exception for this sentence is asked for already.")
    now = clock.now()
    row = ContentException(
        digest=bytes.fromhex(digest), version_id=version.id, language=language, rule=one.id,
        sentence=" ".join(one.sentence.split()), reason=reason.strip()[:LONGEST_REASON], asked_by=actor, asked_at=now,
        ends_at=now + rules.DAYS[days],
    )  # fmt: skip
    db.session.add(row)
    db.session.flush()
    _record("asked", row)
    alerts.raise_alert(
        key=f"exception:{row.id}",
        level="info",
        text=f"An exception for “{version.name}” ({language}) waits for a clinician and an administrator.",
        link=f"/console/content/versions/{version.id}#claims",
    )
    return row


def sign(
    exception_id: int, *, as_role: str, actor: str, roles: Collection[str], authors: Collection[str]
) -> ContentException:
    """Sign as clinician or administrator; with both signatures it is in force. Raises NotAllowed with the reason."""
    row, now = get(exception_id), clock.now()
    why = rules.signature_problem(
        rules.SignatureRequest(
            actor=actor,
            roles=roles,
            as_role=as_role,
            authors=authors,
            signed=row.signatures,
            ends_at=row.ends_at,
            ended=row.ended_at is not None,
            now=now,
        )
    )
    if why is not None:
        raise NotAllowed(why)
    if as_role == rules.CLINICIAN:
        row.clinician, row.clinician_at = actor, now
    else:
        row.admin, row.admin_at = actor, now
    db.session.flush()
    _record(f"signed_{as_role}", row)
    if row.is_signed:
        alerts.close(f"exception:{row.id}")
    return row


def end(exception_id: int, *, actor: str) -> ContentException:
    """Decline an exception, or end it before its time."""
    row = get(exception_id)
    if row.ended_at is None:
        row.ended_by, row.ended_at = actor, clock.now()
        db.session.flush()
        alerts.close(f"exception:{row.id}")
        _record("ended", row)
    return row


def waiting() -> Sequence[ContentException]:
    """Return the exceptions that lack a signature, the one asked for first at the top."""
    return db.session.scalars(
        select(ContentException)
        .where(
            ContentException.ended_at.is_(None),
            ContentException.ends_at > clock.now(),
            ContentException.clinician.is_(None) | ContentException.admin.is_(None),
        )
        .order_by(ContentException.id)
    ).all()


def _record(what: str, row: ContentException) -> None:
    audit.record(
        f"content.exception_{what}",
        object_type="content_version",
        object_id=row.version_id,
        detail={"exception": row.id, "rule": row.rule},
    )
