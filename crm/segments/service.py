"""The verbs of segments: save a rule."""

from sqlalchemy import func, select

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid
from crm.core.text import clean
from crm.segments import queries, rules
from crm.segments.models import Segment, SegmentRule
from crm.segments.rules import Node

LONGEST_NAME = 100


def save(*, name: str, rule: Node, segment_id: int | None = None, base: int | None = None) -> SegmentRule:
    """Save a rule as a new segment, or as the next version of one whose newest version was `base`.

    Raises Invalid for what is wrong with the name or the rule, Conflict when another person saved meanwhile.
    """
    said = clean(name, lines=False)
    _check(said, rule, segment_id=segment_id)
    number = 1
    if segment_id is None:
        segment = Segment(name=said, created_at=clock.now())
        db.session.add(segment)
        db.session.flush()
    else:
        segment = db.session.get_one(Segment, segment_id, with_for_update=True)
        number = queries.newest_of(segment_id).number + 1
        if base != number - 1:
            raise Conflict(
                "Another person saved this segment meanwhile. Open it again and repeat your change."
            )
        segment.name = said
    made = SegmentRule(
        segment_id=segment.id,
        number=number,
        rule=rules.stored(rule),
        created_at=clock.now(),
        created_by=audit.current().actor,
    )
    db.session.add(made)
    db.session.flush()
    audit.record("segment.saved", object_type="segment", object_id=segment.id, detail={"number": number})
    return made


def _check(name: str, rule: Node, *, segment_id: int | None) -> None:
    errors: dict[str, list[str]] = {}
    same = select(Segment.id).where(func.lower(Segment.name) == name.lower(), Segment.id != (segment_id or 0))
    if not name or len(name) > LONGEST_NAME:
        errors["name"] = [f"Give it a name of at most {LONGEST_NAME} characters."]
    elif db.session.scalar(same):
        errors["name"] = ["Another segment has this name."]
    if rules.is_empty(rule):
        errors["_"] = ["Add at least one condition to every group."]
    if errors:
        raise Invalid(errors)
