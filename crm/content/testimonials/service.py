"""Patients' written authorizations to quote them: recorded from paper, revoked, checked before each send."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime

from sqlalchemy import select

from crm.audit import service as audit
from crm.content.models import Authorization, ContentItem, ContentVersion, VersionState
from crm.content.render.fields import LANGUAGES, ContentError
from crm.content.render.source import Source, parse
from crm.content.testimonials import rules
from crm.content.testimonials.rules import AuthorizationTerms
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.staff import alerts

LONGEST_WORDS = 2_000


def get(authorization_id: int, *, lock: bool = False) -> Authorization:
    """Return an authorization. Raises NotFound."""
    found = db.session.get(Authorization, authorization_id, with_for_update=lock)
    if found is None:
        raise NotFound("Authorization not found.")
    return found


def all_authorizations() -> Sequence[Authorization]:
    """Return all authorizations, newest first."""
    return db.session.scalars(select(Authorization).order_by(Authorization.id.desc())).all()


def valid_for(*, language: str, now: datetime) -> list[Authorization]:
    """Return those that hold today for words in a language."""
    return [one for one in all_authorizations() if one.language == language and is_valid(one, now=now)]


def is_valid(found: Authorization, *, now: datetime) -> bool:
    """Tell whether an authorization is neither revoked nor expired."""
    return found.revoked_at is None and rules.ends_at(_paper(found)) > now


def record(
    *,
    person: str,
    kept_at: str,
    language: str,
    words: str,
    signed_on: date | None,
    ends_on: date | None,
    stated: Collection[str],
    actor: str,
) -> Authorization:
    """Record what a patient signed. Raises Invalid by field for what is missing on the paper or in the record."""
    wrong = _text_problems(person=person, kept_at=kept_at, words=words)
    if language not in LANGUAGES:
        wrong["language"] = ["Choose the language of the words."]
    wrong |= _day_problems(signed_on, ends_on, today=clock.today())
    if missing := [key for key in rules.STATEMENTS if key not in stated]:
        wrong["stated"] = [f"Tick all of these. Not ticked so far: {len(missing)}."]
    if wrong or signed_on is None or ends_on is None:
        raise Invalid(wrong)
    made = Authorization(
        person=" ".join(person.split())[:200],
        kept_at=" ".join(kept_at.split())[:200],
        language=language,
        words=words.strip().replace("\r\n", "\n"),
        signed_on=signed_on,
        ends_on=ends_on,
        stated=list(rules.STATEMENTS),
        recorded_by=actor,
        recorded_at=clock.now(),
    )
    db.session.add(made)
    db.session.flush()
    audit.record("authorization.recorded", object_type="content_authorization", object_id=made.id)
    return made


_NEEDED = {
    "person": "Enter who signed.",
    "kept_at": "Enter where the signed paper is kept.",
    "words": "Enter exactly the words on the signed paper.",
}


def _text_problems(**texts: str) -> dict[str, list[str]]:
    wrong = {name: [_NEEDED[name]] for name, text in texts.items() if not text.strip()}
    if len(texts["words"]) > LONGEST_WORDS:
        wrong["words"] = [f"Use at most {LONGEST_WORDS:,} characters."]
    return wrong


def _day_problems(signed_on: date | None, ends_on: date | None, *, today: date) -> dict[str, list[str]]:
    wrong = {}
    if signed_on is None or signed_on > today:
        wrong["signed_on"] = ["Enter the day it was signed; it cannot be in the future."]
    if ends_on is None or ends_on < today or (signed_on and ends_on - signed_on > rules.LONGEST):
        wrong["ends_on"] = ["Enter an end date in the future, at most five years after it was signed."]
    return wrong


def revoke(authorization_id: int, *, actor: str) -> Sequence[ContentVersion]:
    """Record that the person revoked it, so that emails with their words are no longer sent. Return those emails."""
    found = get(authorization_id, lock=True)
    if found.revoked_at is not None:
        raise Conflict("This authorization is already revoked.")
    found.revoked_at, found.revoked_by = clock.now(), actor
    db.session.flush()
    audit.record("authorization.revoked", object_type="content_authorization", object_id=found.id)
    held = [one for one in versions_using(found) if one.state == VersionState.APPROVED]
    if held:
        alerts.raise_alert(
            key=f"authorization:{found.id}",
            level="danger",
            text=f"A patient revoked a testimonial ({found.reference}). Emails with it wait until you remove the words.",
            link=f"/console/content/authorizations/{found.id}",
        )
    return held


def versions_using(found: Authorization) -> list[ContentVersion]:
    """Return the versions that print these words and are not retired, newest first."""
    rows = db.session.scalars(
        select(ContentVersion)
        .join(ContentItem)
        .where(
            ContentVersion.source.like(f"%testimonial:%{found.reference}%"),
            ContentVersion.state != VersionState.RETIRED,
        )
        .order_by(ContentVersion.id.desc())
    )
    return [one for one in rows if _named(one.source) == found.reference]


def _named(text: str) -> str:
    try:
        return parse(text).testimonial
    except ContentError:
        return ""


def _paper(found: Authorization) -> AuthorizationTerms:
    return AuthorizationTerms(
        language=found.language,
        words=found.words,
        signed_on=found.signed_on,
        ends_on=found.ends_on,
        revoked=found.revoked_at is not None,
    )


def terms_by_reference(references: Iterable[str]) -> Mapping[str, AuthorizationTerms]:
    """Return reference -> authorization for those that exist. No statement when none is asked for."""
    ids = [int(one.removeprefix("T-")) for one in references if one]
    if not ids:
        return {}
    rows = db.session.scalars(select(Authorization).where(Authorization.id.in_(ids)))
    return {one.reference: _paper(one) for one in rows}


def refusal(source: Source, *, now: datetime) -> str | None:
    """Return why an email may not go out with the words it prints; None when it may, or prints none."""
    if not source.testimonial:
        return None
    return rules.refusal(source, terms_by_reference([source.testimonial]).get(source.testimonial), now=now)


def ends_at(source: Source) -> datetime | None:
    """Return when the authorization that an email rests on ends; None for an email that needs none."""
    paper = terms_by_reference([source.testimonial]).get(source.testimonial)
    return rules.ends_at(paper) if paper else None
