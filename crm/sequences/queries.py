"""Sequences for the console: who is at which step, and the results of each email."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import select, text

from crm.contacts.models import Contact
from crm.content.models import ContentItem, ContentVersion
from crm.core import clock
from crm.core.db import db, rows_as
from crm.core.errors import NotFound
from crm.core.paging import Page, keyset
from crm.leads.models import Lead
from crm.messages import queries as messages
from crm.messages.rules import Answer
from crm.sequences.models import EmailSequence, Enrolment, SequenceVersion
from crm.sequences.plan_graph import stored_emails
from crm.sequences.rules import IN_SEQUENCE, EnrolmentState

STATES = tuple(EnrolmentState)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One email of the newest version, how many people wait for it, and its results of the last 30 days."""

    number: int  # stays with the email in later versions
    place: int  # in the order of sending, from 1
    item: str
    subject: str
    wait: str
    waiting: int
    sent: int
    skipped: int
    bounced: int
    opted_out: int


def every() -> Sequence[tuple[EmailSequence, dict[str, int]]]:
    """Return all sequences, with how many people are in each, and how many ended in RESULTS_OF, by state."""
    counts = dict[int, dict[str, int]]()
    for row in db.session.execute(COUNTS, {"since": clock.now() - RESULTS_OF}):
        counts.setdefault(row.sequence_id, {})[row.state] = row.people
    found = db.session.scalars(select(EmailSequence).order_by(EmailSequence.id)).all()
    return [(sequence, counts.get(sequence.id, {})) for sequence in found]


def get(sequence_id: int) -> EmailSequence:
    """Return one sequence. Raises NotFound."""
    found = db.session.get(EmailSequence, sequence_id)
    if found is None:
        raise NotFound("Sequence not found.")
    return found


RESULTS_OF = timedelta(days=30)  # what the page adds up; more would grow with every email ever sent

# Each half reads an index, only its own rows, so that the cost does not grow with everybody who ever ended.
COUNTS = text("""
    select s.id as sequence_id, asked.state, (
        select count(*) from enrolment e where e.sequence_id = s.id and e.state = asked.state) as people
    from sequence s cross join unnest(array['active', 'paused', 'held']) as asked(state)
    union all
    select sequence_id, state, count(*) from enrolment
    where left_at > :since and state in ('completed', 'exited') group by sequence_id, state
""")
RESULTS = text("""
    select m.step,
        count(*) filter (where coalesce(m.state, b.state) not in ('skipped', 'ready', 'held', 'failed', 'cancelled',
            'blocked_policy')) as sent,
        count(*) filter (where m.state = 'skipped') as skipped,
        count(*) filter (where m.state in ('bounced', 'blocked', 'dropped')) as bounced,
        count(*) filter (where m.state in ('unsubscribed', 'complained')) as opted_out
    from batch b join message m on m.batch_id = b.id
    where b.sequence_id = :id and m.step is not null
        and b.id >= (select f.id from batch f where f.created_at > :since order by f.created_at, f.id limit 1)
    group by m.step
""")
_RESULT_NAMES = ("sent", "skipped", "bounced", "opted_out")
_WAITING = text("""
    select step, count(*) as waiting from enrolment
    where sequence_id = :id and state in ('active', 'paused', 'held') group by step
""")


def steps(sequence_id: int) -> list[Step]:
    """Return the steps of the newest version, with numbers over all versions."""
    version = newest_version(sequence_id)
    plan = stored_emails(version.plan) if version else []
    results = {
        row.step: row
        for row in db.session.execute(RESULTS, {"id": sequence_id, "since": clock.now() - RESULTS_OF})
    }
    waiting = {row.step: row.waiting for row in db.session.execute(_WAITING, {"id": sequence_id})}
    subjects = messages.subjects([step["item"] for step in plan])
    return [
        Step(
            number=step["number"],
            place=place,
            item=step["item"],
            subject=subjects.get(step["item"], step["item"]),
            wait=_wait(step["wait"]),
            waiting=waiting.get(step["number"], 0),
            **{name: getattr(results.get(step["number"]), name, 0) for name in _RESULT_NAMES},
        )
        for place, step in enumerate(plan, start=1)
    ]


_PASSED = text("""
    select p.node, count(*) filter (where p.yes) as yes, count(*) filter (where not p.yes) as no
    from passage p join enrolment e on e.id = p.enrolment_id
    where p.at > :since and e.sequence_id = :id group by p.node
""")
_ENDS = text("""
    select end_name, count(*) as people from enrolment
    where sequence_id = :id and left_at > :since and state in ('completed', 'exited') and end_name is not null
    group by end_name
""")


class Parts(NamedTuple):
    """Where people are and went: node -> people there now; branch -> people by arm; name of an end -> people."""

    waiting: dict[int, int]
    passed: dict[int, tuple[int, int]]  # yes, no
    ends: dict[str, int]


def parts(sequence_id: int) -> Parts:
    """Return the numbers of the branches, waits and ends of a sequence, of the last RESULTS_OF."""
    given = {"id": sequence_id, "since": clock.now() - RESULTS_OF}
    return Parts(
        {row.step: row.waiting for row in db.session.execute(_WAITING, {"id": sequence_id})},
        {row.node: (row.yes, row.no) for row in db.session.execute(_PASSED, given)},
        {row.end_name: row.people for row in db.session.execute(_ENDS, given)},
    )


def _wait(wait: dict[str, Any]) -> str:
    amount, unit = wait["amount"], wait["unit"]
    if not amount:
        return "at once"
    return f"after {amount} {unit if amount > 1 else unit.removesuffix('s')}"


def people(
    sequence_id: int, *, state: str = "", step: int | None = None, cursor: str | None = None, limit: int = 50
) -> Page[Any]:
    """Return the people in a sequence, or those of one `state`, newest first: rows of (Enrolment, Contact, reference)."""
    newest = (
        select(Lead.reference)
        .where(Lead.contact_id == Enrolment.contact_id)
        .order_by(Lead.id.desc())
        .limit(1)
    )
    rows = select(Enrolment, Contact, newest.scalar_subquery().label("reference"))
    rows = rows.join(Contact, Contact.id == Enrolment.contact_id).where(Enrolment.sequence_id == sequence_id)
    rows = (
        rows.where(Enrolment.state == state)
        if state in STATES
        else rows.where(Enrolment.state.in_(IN_SEQUENCE))
    )
    if step is not None:
        rows = rows.where(Enrolment.step == step)
    return keyset(rows, by=(Enrolment.id,), cursor=cursor, limit=limit, kinds=(int,))


def sequence_of(enrolment_id: int) -> int:
    """Return the sequence of an enrolment. Raises NotFound."""
    found = db.session.scalar(select(Enrolment.sequence_id).where(Enrolment.id == enrolment_id))
    if found is None:
        raise NotFound("This person is not in the sequence.")
    return found


def newest_version(sequence_id: int) -> SequenceVersion | None:
    """Return the version that new people begin."""
    return db.session.scalar(
        select(SequenceVersion)
        .where(SequenceVersion.sequence_id == sequence_id)
        .order_by(SequenceVersion.number.desc())
        .limit(1)
    )


def versions(sequence_id: int) -> Sequence[SequenceVersion]:
    """Return all versions of a sequence, oldest first."""
    rows = select(SequenceVersion).where(SequenceVersion.sequence_id == sequence_id)
    return db.session.scalars(rows.order_by(SequenceVersion.number)).all()


_GROUPS = text("""
    select version_id, step, had, count(*) as people from (
        select e.version_id, e.step, case when cardinality(cast(:again as text[])) > 0 then array(
            select i.key from message m join content_version cv on cv.id = m.content_version_id
            join content_item i on i.id = cv.item_id
            where m.enrolment_id = e.id and i.key = any(:again) order by i.key) end as had
        from enrolment e where e.sequence_id = :sequence and e.state in ('active', 'paused', 'held')
    ) waiting group by version_id, step, had order by version_id, step, had
""")


class WaitingGroup(NamedTuple):
    """People in a sequence who wait for the same step of the same version."""

    version_id: int
    step: int
    had: list[str] | None  # of the emails that were asked about
    people: int


def groups(sequence_id: int, *, again: Sequence[str]) -> list[WaitingGroup]:
    """Return how many people wait for which step of which version, and which of the emails `again` they had."""
    return rows_as(WaitingGroup, db.session.execute(_GROUPS, {"sequence": sequence_id, "again": list(again)}))


def addable(sequence_id: int) -> list[tuple[str, str]]:
    """Return (key, subject) of the approved emails of the sequence's kind of mail, by subject."""
    stream = get(sequence_id).stream
    keys = db.session.scalars(
        select(ContentItem.key).where(ContentItem.kind == "email", ContentItem.stream == stream)
    ).all()
    return sorted(messages.subjects(keys).items(), key=lambda one: one[1].casefold())


def item_ids(keys: Iterable[str]) -> dict[str, int]:
    """Return key -> id of emails."""
    rows = select(ContentItem.key, ContentItem.id).where(ContentItem.key.in_(set(keys)))
    return {row.key: row.id for row in db.session.execute(rows)}


def buttons(version_ids: Iterable[int]) -> set[tuple[str, Answer]]:
    """Return (email, answer) for the answer buttons that these versions of emails have."""
    rows = (
        select(ContentItem.key, ContentVersion.source)
        .join(ContentItem, ContentItem.id == ContentVersion.item_id)
        .where(ContentVersion.id.in_(set(version_ids)))
    )
    return {
        (row.key, answer)
        for row in db.session.execute(rows)
        for answer in Answer
        if f"{answer}_url" in row.source
    }


def emails_by_step(sequence_id: int) -> dict[tuple[int, int], str]:
    """Return (version id, number of a step) -> subject, over all versions of a sequence."""
    steps = {
        (version.id, node["number"]): node["item"]
        for version in versions(sequence_id)
        for node in stored_emails(version.plan)
    }
    subjects = messages.subjects(sorted(set(steps.values())))
    return {place: subjects.get(item, item) for place, item in steps.items()}
