"""Bulk actions on leads: for each one, which leads it skips and why, and how it runs. Each lead is an act of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from crm.audit import acts
from crm.consultations import service as consultations
from crm.contacts import service as contacts
from crm.contacts.models import Tag
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Invalid
from crm.leads import contact_attempts, rules, service
from crm.leads.models import Lead
from crm.staff import service as staff
from crm.staff.models import User

Given = Mapping[str, Any]
MAX_AHEAD = consultations.MAX_AHEAD
UNDO_WITHIN = timedelta(hours=2)  # of one lead's part; the run itself is undone within an hour after its end

VISIT_STAGES = frozenset(
    ["scheduled", "consult_scheduled", "seen", "consult_done", "no_show", "cancelled", "rescheduled"]
)  # these stages belong to a consultation
MOVES = {
    stage: one
    for stages in rules.STAGES.values()
    for stage, one in stages.items()
    if stage not in VISIT_STAGES and stage not in ("new", "unconfirmed", "received")
}
CHANGED = "This lead was changed in the meantime."


@dataclass(frozen=True, kw_only=True)
class SharedFacts:
    """Facts loaded once for all leads of a slice: the people who have the tag, and the attempts of each lead."""

    tagged: frozenset[int] = frozenset()
    tried: Mapping[int, Sequence[contact_attempts.Attempt]]


@dataclass(frozen=True, kw_only=True)
class BulkAction:
    """One action. `why_not` returns why a lead is skipped, or None."""

    label: str
    why_not: Callable[[Lead, Given, SharedFacts], str | None]
    do: Callable[[Lead, Given], None]


def perform(act: str, lead: Lead, given: Given) -> int:
    """Perform an action on one lead; return the id of the act, by which it can be undone."""
    with acts.begin(act, lead_id=lead.id, within=UNDO_WITHIN) as kept:
        ACTIONS[act].do(lead, given)
    return kept.id


def load_facts(leads: Sequence[Lead], *, act: str, given: Given) -> SharedFacts:
    """Return the facts that `why_not` needs about these leads. At most one statement."""
    if act == "tag":
        people = [lead.contact_id for lead in leads]
        rows = select(Tag.contact_id).where(Tag.tag == given["tag"], Tag.contact_id.in_(people))
        return SharedFacts(tagged=frozenset(db.session.scalars(rows)), tried={})
    if act == "move" and given["to"] in {to for _, to in contact_attempts.GIVEN_UP}:
        return SharedFacts(tried=contact_attempts.attempts_by_lead([lead.id for lead in leads]))
    return SharedFacts(tried={})


def parse_arguments(act: str, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of an action as they are stored. Raises Invalid with the field."""
    if act == "assign":
        return {"owner_id": _owner(form.get("owner", ""))}
    if act == "move":
        return _move(form.get("to", ""), form.get("reason", ""))
    if act == "tag":
        return {"tag": contacts.clean_tag(form.get("tag", ""))}
    if act == "task":
        return _task(form.get("title", ""), form.get("due_at", ""))
    if act in ("spam", "restore"):
        return {"to": rules.SPAM, "reason": None} if act == "spam" else {}
    raise Invalid({"act": ["Choose an action."]})


def _owner(text: str) -> int | None:
    if text == "nobody":
        return None
    known = text.isascii() and text.isdigit() and len(text) < 19
    user = db.session.get(User, int(text)) if known else None
    if user is None or not staff.may_work_leads(user):
        raise Invalid({"owner": ["Choose an owner."]})
    return user.id


def _move(to: str, reason: str) -> dict[str, Any]:
    if to not in MOVES:
        raise Invalid({"to": ["Choose the stage to move to."]})
    asked = {one for stages in rules.STAGES.values() if to in stages for one in stages[to].reasons}
    if asked and reason not in asked:
        words = ", ".join(sorted(map(rules.label, asked)))
        raise Invalid({"reason": [f"“{rules.label(to)}” needs a reason: {words}."]})
    return {"to": to, "reason": reason if asked else None}


def _task(title: str, due_at: str) -> dict[str, Any]:
    wrong: dict[str, Sequence[str]] = {}
    try:
        title = service.typed_text("title", title, limit=service.TITLE_LIMIT, lines=False)
    except Invalid as error:
        wrong |= error.fields
    if not title:
        wrong["title"] = ["Enter a title of up to 120 characters."]
    try:
        due = datetime.fromisoformat(due_at)
    except ValueError:
        due = None
    if due is None or due.tzinfo is None or not clock.now() < due < clock.now() + MAX_AHEAD:
        wrong["due_at"] = ["Choose a time within the next year."]
    if wrong:
        raise Invalid(wrong)
    return {"title": title, "due_at": due_at}


def _has_owner(lead: Lead, given: Given, _known: SharedFacts) -> str | None:
    return "Already has this owner." if lead.owner_id == given["owner_id"] else None


def _assign(lead: Lead, given: Given) -> None:
    service.assign(lead_id=lead.id, version=lead.version, owner_id=given["owner_id"])


def _not_movable(lead: Lead, given: Given, known: SharedFacts) -> str | None:
    to, reason = given["to"], given["reason"]
    if to not in rules.STAGES[lead.kind]:
        return f"A {rules.label(lead.kind)} has no stage “{rules.label(to)}”."
    if lead.stage == to:
        return f"Already “{rules.label(to)}”."
    sent = lead.referral is not None and lead.referral.outcome_sent_at is not None
    why_not = rules.move_refusal(kind=lead.kind, was=lead.stage, to=to, reason=reason, outcome_sent=sent)
    if why_not is not None:
        return why_not
    return contact_attempts.too_early_to_give_up(
        lead, to=to, reason=reason, made=known.tried.get(lead.id, ())
    )


def _do_move(lead: Lead, given: Given) -> None:
    service.move_stage(lead_id=lead.id, version=lead.version, to=given["to"], reason=given["reason"])


def _not_spam(lead: Lead, _given: Given, _known: SharedFacts) -> str | None:
    return None if lead.stage == rules.SPAM else "Not in spam."


def _restore(lead: Lead, _given: Given) -> None:
    service.restore_from_spam(lead_id=lead.id, version=lead.version)


def _tagged(lead: Lead, _given: Given, known: SharedFacts) -> str | None:
    return "Already has this tag." if lead.contact_id in known.tagged else None


def _tag(lead: Lead, given: Given) -> None:
    contacts.add_tag(contact_id=lead.contact_id, tag=given["tag"])


def _is_closed(lead: Lead, _given: Given, _known: SharedFacts) -> str | None:
    return "Closed." if lead.closed_at is not None else None


def _add_task(lead: Lead, given: Given) -> None:
    due = datetime.fromisoformat(given["due_at"])
    service.add_task(lead_id=lead.id, kind="other", title=given["title"], due_at=due, owner_id=lead.owner_id)


ACTIONS: Mapping[str, BulkAction] = {
    "assign": BulkAction(label="Assign", why_not=_has_owner, do=_assign),
    "move": BulkAction(label="Move to a stage", why_not=_not_movable, do=_do_move),
    "tag": BulkAction(label="Add a tag", why_not=_tagged, do=_tag),
    "task": BulkAction(label="Add a task", why_not=_is_closed, do=_add_task),
    "spam": BulkAction(label="Mark as spam", why_not=_not_movable, do=_do_move),
    "restore": BulkAction(label="Restore from spam", why_not=_not_spam, do=_restore),
}
