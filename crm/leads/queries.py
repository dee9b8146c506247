"""Lead queries."""

import re
from collections.abc import Callable, Sequence

from sqlalchemy import CompoundSelect, Select, func, or_, select, union_all

from crm.contacts import queries as people
from crm.core.db import db
from crm.core.errors import NotFound
from crm.leads import rules
from crm.leads.models import Lead, Referral, StageMove
from crm.referrers.models import Practice
from crm.staff.models import Alert

CRISIS_KEY = "crisis:"
"""Starts the key of a crisis alert; the lead's id follows."""
CRISIS = "crisis"
"""The kind of the task that a crisis opens, the only one that stays open."""


def open_crises() -> dict[int, bool]:
    """Return the ids of the leads with an open crisis alert, and whether a staff member has taken it."""
    rows = select(Alert.key, Alert.owner_id).where(
        Alert.key.startswith(CRISIS_KEY), Alert.closed_at.is_(None)
    )
    return {
        int(row.key.removeprefix(CRISIS_KEY)): row.owner_id is not None for row in db.session.execute(rows)
    }


def people_in_crisis() -> frozenset[int]:
    """Return the ids of the people of whom a lead has an open crisis alert."""
    ids = list(open_crises())
    return (
        frozenset(db.session.scalars(select(Lead.contact_id).where(Lead.id.in_(ids)))) if ids else frozenset()
    )


def leads_in_crisis() -> Sequence[Lead]:
    """Return the leads with a crisis alert that nobody has taken yet, the oldest first."""
    ids = [lead_id for lead_id, is_taken in open_crises().items() if not is_taken]
    return db.session.scalars(select(Lead).where(Lead.id.in_(ids)).order_by(Lead.id)).all() if ids else []


def leads_of(contact_id: int, *, limit: int = 50) -> Sequence[Lead]:
    """Return a person's leads, newest first."""
    rows = select(Lead).where(Lead.contact_id == contact_id).order_by(Lead.id.desc()).limit(limit)
    return db.session.scalars(rows).all()


def crisis_first(
    leads: Sequence[Lead],
    *,
    crises: Sequence[Lead] | None = None,
    belongs: Callable[[Lead], bool] = lambda _lead: True,
) -> list[Lead]:
    """Return the first page of a list, begun with the leads in crisis that nobody has taken.

    They come first whatever the list is filtered by; `belongs` limits them where a list is divided, as a board is.
    """
    first = [lead for lead in (leads_in_crisis() if crises is None else crises) if belongs(lead)]
    known = {lead.id for lead in first}
    return [*first, *(lead for lead in leads if lead.id not in known)]


def lead_sent_by(*, reference: str, actor: str, practice_id: int | None) -> Lead:
    """Return the lead with this reference if `actor` sent it or `practice_id` referred it. Raises NotFound."""
    by_actor = (
        select(StageMove.id)
        .where(StageMove.lead_id == Lead.id, StageMove.was.is_(None), StageMove.actor == actor)
        .exists()
    )
    by_practice = (
        select(Referral.lead_id)
        .where(Referral.lead_id == Lead.id, Referral.practice_id == practice_id)
        .exists()
    )
    allowed = by_actor if practice_id is None else or_(by_actor, by_practice)
    lead = db.session.scalar(select(Lead).where(Lead.reference == reference.upper(), allowed))
    if lead is None:
        raise NotFound("Lead not found, or not sent with this key.")
    return lead


PRACTICES = 20  # whose name matches; a word that more of them share finds no practice
_REFERENCE = re.compile(rf"[CR]-?[{rules.ALPHABET}]{{6}}")


def matching_people(typed: str, *, limit: int, named: bool = True) -> Sequence[int] | CompoundSelect[int]:
    """Return the ids of people who match a name, an address, a number, a lead's reference, or their referral.

    A referral is found by the practice's own number for it, or by words of the practice's name. For a reader who may
    not see who people are (not `named`) only a reference matches.
    """
    found = _by_reference(typed)
    if found is not None:
        return [found.contact_id]
    people_found = people.matching_ids(typed, limit=limit) if named else None
    if people_found is None:
        return []
    by_referral = (
        rows.limit(limit).subquery()
        for rows in (_by_external_id(typed), _by_practice(typed))
        if rows is not None
    )
    parts = (people_found.subquery(), *by_referral)
    return union_all(*(select(part.c.id) for part in parts))


def _by_external_id(typed: str) -> Select[int]:
    return (
        select(Lead.contact_id.label("id"))
        .join(Referral, Referral.lead_id == Lead.id)
        .where(func.lower(Referral.external_id) == typed.strip().lower())
        .order_by(Lead.id.desc())
    )


def _by_practice(typed: str) -> Select[int] | None:
    """Select the patients of practices whose name has all these words, the newest referral first."""
    words = func.string_to_array(func.fold_name(typed.lower()), " ")
    name = func.concat(" ", func.fold_name(Practice.name))
    word = func.unnest(words).table_valued("word").render_derived()
    missing = select(word.c.word).where(func.strpos(name, func.concat(" ", word.c.word)) == 0).exists()
    practices = db.session.scalars(
        select(Practice.id).where(~missing).order_by(Practice.id).limit(PRACTICES)
    ).all()
    if not practices or len(practices) == PRACTICES:
        return None
    return (
        select(Lead.contact_id.label("id"))
        .join(Referral, Referral.lead_id == Lead.id)
        .where(Referral.practice_id.in_(practices))
        .order_by(Referral.lead_id.desc())
    )


def _by_reference(text: str) -> Lead | None:
    typed = text.strip().upper()
    if not _REFERENCE.fullmatch(typed):
        return None
    reference = typed if "-" in typed else f"{typed[0]}-{typed[1:]}"
    return db.session.scalar(select(Lead).where(Lead.reference == reference))
