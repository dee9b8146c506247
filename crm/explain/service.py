"""Explanations of emails: why and when a person got, or did not get, an email.

They cover every email ever queued, and the emails of a broadcast or sequence that a person did not get.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select, text

from crm.audit import service as audit
from crm.campaigns.models import Campaign
from crm.consent import queries as consent
from crm.consent import replay
from crm.consent.models import ConsentState
from crm.contacts.models import Contact, Tag
from crm.content.models import ContentItem, ContentVersion
from crm.core import clock
from crm.core.db import db
from crm.core.errors import NotFound
from crm.explain import facts
from crm.explain.facts import Fact
from crm.messages import queries as mail
from crm.messages import reason_labels as words
from crm.messages.limits import frequency
from crm.messages.models import Batch, Message
from crm.messages.rules import STREAMS
from crm.segments import queries as segments
from crm.sequences import plan_graph
from crm.sequences import rules as plans
from crm.sequences.models import EmailSequence, Enrolment, SequenceVersion


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`got` is yes, no, waiting or in_doubt; `short` says it in a sentence, `reason` why, as a code or capped text."""

    contact_id: int
    got: str
    short: str
    reason: str | None
    about: str  # the email's subject
    at: datetime | None  # when it was decided, or is due
    message_id: int | None = None
    batch_id: int | None = None
    campaign_id: int | None = None
    sequence_id: int | None = None
    step: int | None = None  # of the sequence, from 1
    facts: list[Fact] = field(default_factory=list)

    @property
    def because(self) -> str | None:
        """The reason as text for people."""
        return words.reason(self.reason)


def of_message(message_id: int) -> Answer:
    """Answer for one email. Raises NotFound. The access is audited."""
    message = _row(Message, message_id)
    batch = _row(Batch, message.batch_id)
    contact = _row(Contact, message.contact_id)
    version = _row(ContentVersion, message.content_version_id)
    enrolment = db.session.get(Enrolment, message.enrolment_id) if message.enrolment_id else None
    got, short = words.STATES.get(message.state or batch.state, ("waiting", message.state or batch.state))
    said = message.reason if message.state else batch.error
    queued, *left = _decisions(message, batch)
    made, *sending = facts.of_batch(batch)
    found = [*facts.of_consent(contact.id, batch.topic), *facts.of_stops(contact)]
    found += [*facts.of_content(version.id), *_of_origin(message, enrolment)]
    found += [queued, made, *left, *sending, *facts.of_message(message)]
    _audit_view(contact.id, "message", message.id)
    return Answer(
        contact_id=contact.id,
        got=got,
        short=short,
        reason=said if got != "yes" else None,
        about=version.name,
        at=message.state_at if message.state else batch.state_at,
        message_id=message.id,
        batch_id=batch.id,
        campaign_id=message.campaign_id,
        sequence_id=enrolment.sequence_id if enrolment else None,
        step=message.step + 1 if message.step is not None else None,
        facts=facts.in_order(found),
    )


def of_campaign(campaign_id: int, contact_id: int) -> Answer:
    """Answer for a person and a broadcast, whether they got it or not. Raises NotFound."""
    campaign, contact = _row(Campaign, campaign_id), _row(Contact, contact_id)
    same = select(Message.id).where(Message.campaign_id == campaign_id, Message.contact_id == contact_id)
    message_id = db.session.scalar(same)
    if message_id is not None:
        return of_message(message_id)
    item = _row(ContentItem, campaign.item_id)
    got, reason, batch_id = _missed(campaign, contact)
    found = [*facts.of_consent(contact.id, campaign.topic), *facts.of_stops(contact), *_of_launch(campaign)]
    at = campaign.launched_at
    if at is not None:
        found.append(facts.decision(contact.id, stream=item.stream or "", at=at, when="At the launch"))
    found.append(facts.decision(contact.id, stream=item.stream or "", at=clock.now(), when="Now"))
    _audit_view(contact.id, "campaign", campaign.id)
    return Answer(
        contact_id=contact.id,
        got=got,
        short="Queued." if got == "waiting" else "Not sent.",
        reason=reason,
        about=mail.subjects([item.key]).get(item.key, item.label),
        at=at,
        batch_id=batch_id,
        campaign_id=campaign.id,
        facts=facts.in_order(found),
    )


def of_step(sequence_key: str, step: int, contact_id: int) -> Answer:
    """Answer for a person and an email of a sequence, whether they got it or not. Raises NotFound.

    `step` is the number of the email plus 1, as in `Answer.step`.
    """
    sequence = db.session.scalar(select(EmailSequence).where(EmailSequence.key == sequence_key))
    contact = _row(Contact, contact_id)
    if sequence is None:
        raise NotFound("Sequence not found.")
    rows = select(Enrolment).where(Enrolment.contact_id == contact_id, Enrolment.sequence_id == sequence.id)
    enrolment = db.session.scalar(rows.order_by(Enrolment.id.desc()).limit(1))
    if enrolment is not None:
        same = select(Message.id).where(Message.enrolment_id == enrolment.id, Message.step == step - 1)
        message_id = db.session.scalar(same)
        if message_id is not None:
            return of_message(message_id)
    got, reason, at = _not_there(sequence, enrolment, step, contact_id)
    found = [*facts.of_consent(contact.id, sequence.topic), *facts.of_stops(contact)]
    found += list(_of_enrolment(enrolment)) if enrolment else []
    found.append(facts.decision(contact.id, stream=sequence.stream, at=clock.now(), when="Now"))
    _audit_view(contact.id, "sequence", sequence.id)
    return Answer(
        contact_id=contact.id,
        got=got,
        short=_waiting(at) if got == "waiting" else "Not sent.",
        reason=reason,
        about=f"{sequence.title}, email {step}",
        at=at,
        sequence_id=sequence.id,
        step=step,
        facts=facts.in_order(found),
    )


def _row(kind: Any, row_id: int) -> Any:
    found = db.session.get(kind, row_id)
    if found is None:
        raise NotFound("Email not found.")
    return found


def _audit_view(contact_id: int, kind: str, object_id: int) -> None:
    audit.record("why.view", object_type=kind, object_id=object_id, detail={"contact_ids": [contact_id]})


def _decisions(message: Message, batch: Batch) -> Iterator[Fact]:
    """Yield what the rules decided when it was queued, and right before it was sent."""
    ids = {"message": message.id, "consent_record": message.consent_record_id}
    queued = facts.decision(
        message.contact_id, stream=batch.stream, at=message.created_at, when="When it was queued"
    )
    yield replace(queued, ids=queued.ids | ids)
    if (
        message.state != "skipped"
        and batch.state in ("sending", "accepted", "uncertain", "failed")
        and batch.attempts
    ):
        at = next((fact.at for fact in facts.of_batch(batch) if fact.part == "attempt"), batch.state_at)
        yield facts.decision(message.contact_id, stream=batch.stream, at=at, when="Right before it was sent")


def _of_origin(message: Message, enrolment: Enrolment | None) -> Iterator[Fact]:
    """Yield its origin: a broadcast, or a step of a sequence."""
    if message.campaign_id is not None:
        yield from _of_launch(_row(Campaign, message.campaign_id))
    if enrolment is not None:
        yield from _of_enrolment(enrolment)


def _of_launch(campaign: Campaign) -> Iterator[Fact]:
    ids = {"campaign": campaign.id}
    yield Fact(at=campaign.created_at, part="broadcast", text=f"Broadcast “{campaign.name}” drafted", ids=ids)
    if campaign.launched_at is not None:
        by = {"by": campaign.launched_by}
        yield Fact(
            at=campaign.launched_at, part="broadcast", text="Launched with a fixed audience", ids=ids | by
        )
    if campaign.finished_at is not None:
        how = "Cancelled" if campaign.state == "cancelled" else "Finished"
        yield Fact(at=campaign.finished_at, part="broadcast", text=how, ids=ids)


def _of_enrolment(enrolment: Enrolment) -> Iterator[Fact]:
    version = _row(SequenceVersion, enrolment.version_id)
    ids = {"enrolment": enrolment.id, "sequence_version": version.id}
    title = f"Started “{version.sequence.title}”, version {version.number}"
    yield Fact(at=enrolment.entered_at, part="sequence", text=title, ids=ids)
    if enrolment.left_at is not None:
        how = "Exited the sequence" if enrolment.state == "exited" else "Finished the sequence"
        why = words.reason(enrolment.reason)
        yield Fact(at=enrolment.left_at, part="sequence", text=how, why=why, ids=ids)


_IN_BATCH = text("""
    select id, state, error from batch where campaign_id = :campaign and contact_ids @> array[cast(:contact as bigint)]
    order by id desc limit 1
""")
_HAD_FIRST = text(f"""
    select exists (select 1 from message m join batch b on b.id = m.batch_id
        where m.campaign_id = :first and m.contact_id = :contact
            and {frequency.may_have_reached("m", "b")})
""")


def _missed(campaign: Campaign, contact: Contact) -> tuple[str, str | None, int | None]:
    """Return why there is no email to this person in the broadcast: (got, reason, batch that holds them)."""
    if campaign.launched_at is None:
        return "no", "not_launched", None
    given = {"campaign": campaign.id, "contact": contact.id}
    batch = db.session.execute(_IN_BATCH, given).first()
    if batch is not None:
        if batch.state in ("ready", "held", "sending"):
            return "waiting", batch.error, batch.id
        return "no", batch.error or batch.state, batch.id
    if contact.id > (campaign.frozen_max or 0):
        return "no", "came_later", None
    return _unmeant(campaign, contact)


def _unmeant(campaign: Campaign, contact: Contact) -> tuple[str, str | None, None]:
    """Return why a person was not in the audience, as far as today's rows show."""
    reason = _consent_reason(campaign, contact) or _tag_reason(campaign, contact)
    given = {"first": campaign.resend_of_id, "contact": contact.id}
    if reason is None and campaign.resend_of_id is not None and db.session.scalar(_HAD_FIRST, given):
        reason = "had_first"
    if reason is not None:
        return "no", reason, None
    if campaign.frozen_at is None:
        return "waiting", None, None
    return "no", "not_in_audience", None


def _consent_reason(campaign: Campaign, contact: Contact) -> str | None:
    at_launch = replay.verdict_at(contact.id, campaign.topic, campaign.launched_at or clock.now()).reason
    state = db.session.get(ConsentState, (contact.id, campaign.topic))
    if state is not None and state.granted and campaign.launched_at and state.at > campaign.launched_at:
        return "said_yes_later"
    return str(at_launch) if at_launch is not None else None


def _tag_reason(campaign: Campaign, contact: Contact) -> str | None:
    tags = set(db.session.scalars(select(Tag.tag).where(Tag.contact_id == contact.id)))
    if tags & set(campaign.audience.get("exclude_tags") or ()):
        return "excluded"
    wanted = set(campaign.audience.get("tags") or ())
    return "no_tag" if wanted and not tags & wanted else _segment_reason(campaign, contact)


def _segment_reason(campaign: Campaign, contact: Contact) -> str | None:
    """Return whether the person is outside the segments of a broadcast, as of today."""
    chosen = {name: campaign.audience.get(name) or [] for name in ("segments", "exclude_segments")}
    known = segments.rules_of([*chosen["segments"], *chosen["exclude_segments"]])
    inside = {
        number for number, rule in known.items() if segments.contains(segments.rule_of(rule), contact.id)
    }
    if inside & set(chosen["exclude_segments"]):
        return "excluded"
    return "not_in_segment" if chosen["segments"] and not inside & set(chosen["segments"]) else None


def _waiting(due: datetime | None) -> str:
    return "Scheduled." if due else "Waiting."


def _not_there(
    sequence: EmailSequence, enrolment: Enrolment | None, step: int, contact_id: int
) -> tuple[str, str | None, datetime | None]:
    """Return why there is no email of this step: (got, reason, when that was or will be)."""
    if enrolment is None:
        now = consent.refusal(
            contact_id=contact_id,
            topic=sequence.topic,
            transactional=STREAMS[sequence.stream].transactional,
            now=clock.now(),
        )
        return "no", str(now) if now else "not_enrolled", None
    plan = plan_graph.plan_from(_row(SequenceVersion, enrolment.version_id).plan)
    if plan.step(step - 1) is None:
        return "no", "not_in_version", None
    if enrolment.state == "exited":
        return "no", enrolment.reason, enrolment.left_at
    if enrolment.state not in plans.IN_SEQUENCE or step - 1 not in plan.ahead(enrolment.step):
        return _not_on_their_way(plan, enrolment, step)
    waits = {"paused": "sequence_paused", "held": enrolment.reason, "active": enrolment.reason or "not_due"}
    return "waiting", waits[enrolment.state], enrolment.due_at


def _not_on_their_way(
    plan: plan_graph.Plan, enrolment: Enrolment, step: int
) -> tuple[str, str | None, datetime | None]:
    """Return why a person comes to no email that their version has: a branch, or they are past its place."""
    passed = "added_behind" if enrolment.state in plans.IN_SEQUENCE else "not_in_version"
    return "no", "other_branch" if plan.arms(step - 1) else passed, enrolment.left_at
