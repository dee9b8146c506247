"""The verbs of sequences: load, enrol, remove, pause, resume, send the next step now."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, text, update

from crm.audit import service as audit
from crm.contacts.models import Contact
from crm.content import service as content
from crm.content.render import library
from crm.content.render.fields import LANGUAGES
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, NotFound
from crm.core.queue import enqueue
from crm.core.time_zones import zone_info
from crm.messages import service as messages
from crm.sequences import branching, plan_graph
from crm.sequences.models import EmailSequence, Enrolment, SequenceVersion
from crm.sequences.queries import newest_version
from crm.sequences.rules import ANSWERED, BY_PLAN, IN_SEQUENCE, EnrolmentState, SequenceState
from crm.staff import alerts


def load_shipped(*, live: bool) -> int:
    """Load the shipped sequences as immutable versions; return how many versions were new.

    A sequence that staff have changed in the console is theirs: its file adds no version any more.
    """
    added = 0
    for shipped in library.load_library().sequences.values():
        plan = stored_plan(shipped)
        plan_graph.plan_from(plan)  # raises for a plan that could not run
        sequence = db.session.scalar(select(EmailSequence).where(EmailSequence.key == shipped.key))
        if sequence is None:
            sequence = EmailSequence(
                key=shipped.key,
                title=shipped.title,
                topic=shipped.topic,
                stream=shipped.stream,
                state=SequenceState.LIVE if live else SequenceState.DRAFT,
                created_at=clock.now(),
            )
            db.session.add(sequence)
            db.session.flush()
        last = newest_version(sequence.id)
        if last is None or (last.plan != plan and not _is_of_staff(last.plan)):
            number = (last.number if last else 0) + 1
            db.session.add(
                SequenceVersion(sequence_id=sequence.id, number=number, plan=plan, created_at=clock.now())
            )
            added += 1
    db.session.flush()
    return added


def _is_of_staff(plan: Mapping[str, Any]) -> bool:
    """Tell whether staff made a plan in the console: in format 2, and not from a file."""
    return plan.get("format") == plan_graph.NUMBERED and not plan.get("shipped")


def stored_plan(shipped: library.Sequence) -> dict[str, Any]:
    """Return a shipped sequence in the form `plan_graph.plan_from` reads: each email with the waits before it.

    One without branches and ends is in the first format. `shipped` marks a plan that staff have not changed.
    """
    window = {
        "start": shipped.window.start,
        "end": shipped.window.end,
        "weekdays": [library.WEEKDAYS.index(day) for day in shipped.window.weekdays],
    }
    plan: dict[str, Any] = {"window": window, "entry": shipped.entry, "exit_on": list(shipped.exit_on)}
    numbers = {slug: number for number, slug in enumerate(shipped.slugs)}
    nodes = _stored_steps(shipped.steps, shipped.key, numbers)
    if all("item" in node for node in nodes):
        return {**plan, "steps": [{"item": node["item"], "wait": node["wait"]} for node in nodes]}
    return {**plan, "format": plan_graph.NUMBERED, "nodes": nodes, "shipped": True}


NO_WAIT = {"amount": 0, "unit": "minutes"}


def _stored_steps(
    steps: Sequence[library.Step], key: str, numbers: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return steps as stored nodes. `numbers`: slug of an email -> its number, its place among the emails."""
    nodes: list[dict[str, Any]] = []
    wait: dict[str, Any] = NO_WAIT
    for step in steps:
        match step:
            case library.Wait(amount, unit):
                wait = {"amount": amount, "unit": unit}
                continue
            case library.Send(slug):
                nodes.append({"number": numbers[slug], "item": f"{key}/{slug}", "wait": wait})
            case library.End(number, kind, name):
                nodes.append({"number": number, "kind": kind, "name": name})
            case library.Branch():
                nodes.append(_stored_branch(step, wait, key, numbers))
        wait = NO_WAIT
    return nodes


def _stored_branch(
    branch: library.Branch, wait: dict[str, Any], key: str, numbers: Mapping[str, int]
) -> dict[str, Any]:
    about = {} if branch.email is None else {"email": numbers[branch.email]}
    return {
        "number": branch.number,
        "kind": "branch",
        "wait": wait,
        "ask": {"answer": branch.answer, **about},
        "yes": _stored_steps(branch.then, key, numbers),
        "no": _stored_steps(branch.otherwise, key, numbers),
    }


def enrol(*, contact_id: int, topic: str, record_id: int, lead_id: int | None = None) -> int | None:
    """Enrol a person in the sequence of a topic they said yes to; return the enrolment id.

    In a paused sequence they wait with the others; if its plan cannot be read, the planner holds them. None without
    such a sequence, or when they are in it, completed it or left it by booking: nobody gets a series twice. Otherwise
    they continue after the last email they had.
    """
    sequence = db.session.scalar(
        select(EmailSequence).where(
            EmailSequence.topic == topic,
            EmailSequence.state.in_((SequenceState.LIVE, SequenceState.PAUSED)),
        )
    )
    version = newest_version(sequence.id) if sequence else None
    contact = db.session.get(Contact, contact_id)
    if sequence is None or version is None or contact is None:
        return None
    start = _start(contact, sequence.id, version)
    if start is None:
        return None
    step, due = start
    return _enrol_at(
        step,
        due=due,
        contact=contact,
        sequence=sequence,
        version=version,
        record_id=record_id,
        lead_id=lead_id,
    )


def _start(contact: Contact, sequence_id: int, version: SequenceVersion) -> tuple[int, datetime] | None:
    """Return the node at which a person begins and when it is due; None when they may not begin.

    Without a readable plan it is the first node, now: the planner holds them.
    """
    now = clock.now()
    plan = plan_graph.readable_plan(version.plan)
    if plan is None:
        return 0, now
    node = _first_step(contact.id, sequence_id, plan)
    if node is None or not branching.may_start(plan.starts, contact.id, now=now):
        return None
    return node.number, plan_graph.due_after(now, node, plan.window, zone_info(contact.time_zone))


_ENROL = text("""
    insert into enrolment (contact_id, sequence_id, version_id, consent_record_id, lead_id, state, step,
        due_at, paused_left, anchor_at, entered_at, send_now)
    select cast(:contact as bigint), cast(:sequence as bigint), cast(:version as bigint),
        cast(:record as bigint), cast(:lead as bigint), cast(:state as text), cast(:step as bigint),
        cast(:due as timestamptz), cast(:left as bigint), cast(:now as timestamptz), cast(:now as timestamptz), false
    on conflict (contact_id, sequence_id) where state in ('active', 'paused', 'held') do nothing
    returning id
""")


def _enrol_at(
    step: int,
    *,
    due: datetime,
    contact: Contact,
    sequence: EmailSequence,
    version: SequenceVersion,
    record_id: int,
    lead_id: int | None,
) -> int | None:
    """Enrol a person at the node of this number; None when they are enrolled already."""
    now = clock.now()
    paused = sequence.state is SequenceState.PAUSED
    given = {
        "contact": contact.id,
        "sequence": sequence.id,
        "version": version.id,
        "record": record_id,
        "lead": lead_id,
        "state": EnrolmentState.PAUSED if paused else EnrolmentState.ACTIVE,
        "step": step,
        "due": None if paused else due,
        "left": int((due - now).total_seconds()) if paused else None,
        "now": now,
    }
    enrolment_id: int | None = db.session.scalar(_ENROL, given)
    if enrolment_id is not None:
        audit.record("enrolment.entered", object_type="enrolment", object_id=enrolment_id)
        if due <= now and not paused:
            enqueue("sequences.plan", key=f"{enrolment_id}")
    return enrolment_id


_EARLIER = text("""
    select e.state, e.reason, e.step, v.plan from enrolment e join sequence_version v on v.id = e.version_id
    where e.contact_id = :contact and e.sequence_id = :sequence and e.state in ('completed', 'exited')
""")


def _first_step(contact_id: int, sequence_id: int, plan: plan_graph.Plan) -> plan_graph.Node | None:
    """Return the node at which a person begins: the outer one after the last email they had; None at the end.

    Who left inside a branch, or after one, may have had the emails of each of its arms: they begin after it.
    """
    rows = db.session.execute(_EARLIER, {"contact": contact_id, "sequence": sequence_id}).all()
    if any(row.state == EnrolmentState.COMPLETED or row.reason in FOR_GOOD for row in rows):
        return None
    had = {step.item for row in rows for step in _steps_before(row.plan, row.step, now=plan)}
    last = next((step.number for step in reversed(plan.steps) if step.item in had), None)
    begins = 0 if last is None else 1 + plan.outer_place(last)
    return next(iter(plan.nodes[begins:]), None)


def _steps_before(stored: dict[str, Any], number: int, *, now: plan_graph.Plan) -> Sequence[plan_graph.Step]:
    """Return the emails before a node of an earlier plan; of one that cannot be read, those of today's plan.

    Numbers of steps are never used again, so a smaller number is an earlier step.
    """
    earlier = plan_graph.readable_plan(stored)
    return earlier.before(number) if earlier else [one for one in now.steps if one.number < number]


ENTER_SLICE = 1_000  # people who start in one transaction
_GRANT = text("""
    select record_id from consent_state where contact_id = :contact and topic = :topic and granted
""")


def enrol_from_segments() -> int:
    """Enrol the next people who came into the segment that a sequence starts with; return how many.

    The others are found again in a minute. Whether they may be emailed is asked before each email, as for everyone.
    """
    rows = select(EmailSequence).where(EmailSequence.state.in_((SequenceState.LIVE, SequenceState.PAUSED)))
    entered = 0
    for sequence in db.session.scalars(rows).all():
        version = newest_version(sequence.id)
        plan = plan_graph.readable_plan(version.plan) if version else None
        starts = plan.starts if plan else None
        if starts is None:
            continue
        found = branching.come_in(
            starts, sequence_id=sequence.id, topic=sequence.topic, limit=ENTER_SLICE, now=clock.now()
        )
        for contact_id in found:
            record_id = db.session.scalar(_GRANT, {"contact": contact_id, "topic": sequence.topic})
            if record_id is not None:
                made = enrol(contact_id=contact_id, topic=sequence.topic, record_id=record_id)
                entered += made is not None
    return entered


FOR_GOOD = frozenset({"booked", BY_PLAN, ANSWERED})  # exits after which a series does not begin again
EXIT_EVENTS = {"booked": "appointment_booked"}  # reason -> the name by which a plan lists it under `exit_on`


def exit_people(*, contact_ids: Sequence[int], reason: str, topic: str | None = None) -> int:
    """End every open enrolment of these people (of one topic, or all) and skip their queued emails; return how many.

    An enrolment whose last email was not sent yet is open, too.
    """
    now = clock.now()
    ended = db.session.execute(
        text("""
            update enrolment e set state = 'exited', due_at = null, reason = :reason, left_at = :now
            from sequence s
            where s.id = e.sequence_id and e.contact_id = any(:contacts)
                and (e.state in ('active', 'paused', 'held') or ((e.state = 'completed' or e.reason = 'by_plan') and exists (
                    select 1 from message m join batch b on b.id = m.batch_id where m.enrolment_id = e.id
                        and m.state is null and b.state not in ('accepted', 'cancelled'))))
                and (cast(:topic as text) is null or s.topic = :topic)
                and (cast(:event as text) is null or exists (select 1 from sequence_version v
                    where v.id = e.version_id
                        and (not v.plan ? 'exit_on' or v.plan->'exit_on' @> to_jsonb(cast(:event as text)))))
            returning e.id
        """),
        {
            "reason": reason,
            "now": now,
            "contacts": list(contact_ids),
            "topic": topic,
            "event": EXIT_EVENTS.get(reason),
        },
    ).all()
    messages.skip_waiting(
        contact_ids=contact_ids,
        reason=reason,
        enrolment_ids=None if topic is None and reason not in EXIT_EVENTS else [row.id for row in ended],
    )
    for row in ended:
        audit.record("enrolment.exited", object_type="enrolment", object_id=row.id, detail={"reason": reason})
    return len(ended)


def end_after_answer(*, enrolment_id: int, contact_id: int) -> None:
    """End the sequence of an email that a person answered. `contact_id`: the person, also after a merge."""
    topic = db.session.scalar(
        select(EmailSequence.topic)
        .join(Enrolment, Enrolment.sequence_id == EmailSequence.id)
        .where(Enrolment.id == enrolment_id)
    )
    if topic is not None:
        exit_people(contact_ids=[contact_id], reason=ANSWERED, topic=topic)


def pause(sequence_id: int) -> int:
    """Pause a sequence and everyone in it, and hold queued emails. Returns how many people."""
    now = clock.now()
    _set_state(sequence_id, old=SequenceState.LIVE, new=SequenceState.PAUSED, at=now)
    frozen = db.session.execute(
        text("""
            update enrolment set state = 'paused', due_at = null, send_now = false,
                paused_left = greatest(0, extract(epoch from due_at - cast(:now as timestamptz)))::bigint
            where sequence_id = :id and state = 'active'
        """),
        {"id": sequence_id, "now": now},
    )
    messages.hold(sequence_id=sequence_id)
    audit.record("sequence.paused", object_type="sequence", object_id=sequence_id)
    return int(frozen.rowcount)  # type: ignore[attr-defined]


def resume(sequence_id: int) -> int:
    """Resume a sequence; everyone keeps the wait that remained at the pause. Returns how many people."""
    _set_state(sequence_id, old=SequenceState.PAUSED, new=SequenceState.LIVE, at=None)
    thawed = resume_left_behind()
    messages.unhold(sequence_id=sequence_id)
    audit.record("sequence.resumed", object_type="sequence", object_id=sequence_id)
    return thawed


def resume_left_behind() -> int:
    """Let everyone continue who is paused in a live sequence; return how many.

    A person who enters while the sequence is being resumed may come too late for it, see `release` in `jobs.sequences`.
    """
    thawed = db.session.execute(
        text("""
            update enrolment e set state = 'active', paused_left = null,
                due_at = cast(:now as timestamptz) + coalesce(e.paused_left, 0) * interval '1 second'
            from sequence s where s.id = e.sequence_id and s.state = 'live' and e.state = 'paused'
        """),
        {"now": clock.now()},
    )
    return int(thawed.rowcount)  # type: ignore[attr-defined]


def _set_state(sequence_id: int, *, old: SequenceState, new: SequenceState, at: datetime | None) -> None:
    done = db.session.execute(
        update(EmailSequence)
        .where(EmailSequence.id == sequence_id, EmailSequence.state == old)
        .values(state=new, paused_at=at)
    )
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise Conflict(f"This sequence is not {old}.")


def go_live(sequence_id: int) -> None:
    """Make a draft live, in every language that has all its emails.

    Raises Conflict when no language has. Where some are missing, people are held before the gap; an alert says so now.
    """
    _alert_missing_content(sequence_id)
    _set_state(sequence_id, old=SequenceState.DRAFT, new=SequenceState.LIVE, at=None)
    audit.record("sequence.live", object_type="sequence", object_id=sequence_id)


def _alert_missing_content(sequence_id: int) -> None:
    version = newest_version(sequence_id)
    items = [step.item for step in plan_graph.plan_from(version.plan).steps] if version else []
    gaps = {
        language: content.missing_approvals(items, language=language, now=clock.now())
        for language in LANGUAGES
    }
    if all(gaps.values()):
        raise Conflict("No language has an approved version of every email of this sequence.")
    for language, missing in gaps.items():
        if missing:
            alerts.raise_alert(
                key=f"untranslated:{sequence_id}:{language}",
                level="warning",
                text=f"A sequence is live without approved text in {language} for {len(missing)} of its emails.",
                link=f"/console/content?language={language}",
            )


def send_next_now(enrolment_id: int) -> None:
    """Make the next step of one person due now, at any hour. Consent and suppression still hold.

    Raises Conflict while the sequence is paused, and NotFound when the person does not wait for an email.
    """
    now = clock.now()
    state = db.session.scalar(
        select(EmailSequence.state)
        .join(Enrolment, Enrolment.sequence_id == EmailSequence.id)
        .where(Enrolment.id == enrolment_id)
    )
    if state is SequenceState.PAUSED:
        raise Conflict("This sequence is paused. Resume it first.")
    done = db.session.execute(
        update(Enrolment)
        .where(
            Enrolment.id == enrolment_id, Enrolment.state.in_((EnrolmentState.ACTIVE, EnrolmentState.HELD))
        )
        .values(state=EnrolmentState.ACTIVE, due_at=now, send_now=True, reason=None)
    )
    if done.rowcount != 1:  # type: ignore[attr-defined]
        raise NotFound("This person is not waiting for an email.")
    audit.record("enrolment.hurried", object_type="enrolment", object_id=enrolment_id)
    enqueue("sequences.plan", key=f"{enrolment_id}-{int(now.timestamp())}")


def remove(enrolment_id: int, *, reason: str = "staff") -> None:
    """Remove one person from one sequence."""
    row = db.session.get(Enrolment, enrolment_id)
    if row is None or row.state not in IN_SEQUENCE:
        raise NotFound("This person is not in the sequence.")
    topic = db.session.scalar(select(EmailSequence.topic).where(EmailSequence.id == row.sequence_id))
    exit_people(contact_ids=[row.contact_id], reason=reason, topic=topic)


def release_held() -> int:
    """Make everyone held for missing content due again; the planner decides. Returns how many.

    Also those whose plan could not be read: a worker of an earlier release does not know every node. In a paused
    sequence they wait with the others.
    """
    done = db.session.execute(
        text("""
            update enrolment e set reason = null, state = case when s.state = 'paused' then 'paused' else 'active' end,
                due_at = case when s.state = 'paused' then null else cast(:now as timestamptz) end,
                paused_left = case when s.state = 'paused' then 0 end
            from sequence s where s.id = e.sequence_id and e.state = 'held'
                and e.reason in ('content_not_approved', 'plan_unreadable')
        """),
        {"now": clock.now()},
    )
    return int(done.rowcount)  # type: ignore[attr-defined]
