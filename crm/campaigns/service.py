"""The verbs of a broadcast: draft, launch, pause, resume, cancel, send to people who were missed."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import exists, func, insert, or_, select, text, update

from crm.audit import service as audit
from crm.campaigns import queries, rules
from crm.campaigns.models import Campaign
from crm.campaigns.rules import CampaignState, Verb
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.content import service as content
from crm.content.models import ContentItem
from crm.core import clock
from crm.core.db import db, rows_as
from crm.core.errors import Conflict, Invalid
from crm.core.queue import enqueue
from crm.messages import service as messages
from crm.messages import transports
from crm.messages.limits import circuit_breakers, switches
from crm.messages.models import Batch
from crm.messages.rules import STREAMS, BatchState
from crm.segments import queries as saved_segments
from crm.staff import alerts


def create(
    *,
    name: str,
    item: str,
    tags: Sequence[str] = (),
    exclude_tags: Sequence[str] = (),
    segments: Sequence[int] = (),
    exclude_segments: Sequence[int] = (),
    late_after_hours: int = 24,
    repeat_allowed: bool = False,
    resend_of_id: int | None = None,
) -> int:
    """Draft a campaign: the content item `item` to everyone who opted in to its topic; return its id.

    With `tags`, only to people with one of the tags; never to people with one of `exclude_tags`, also if they get it
    after the launch. `segments` and
    `exclude_segments` likewise, as ids of rules; who is in one is asked at the launch. People who had this very version
    are left out, unless `repeat_allowed`. Raises Invalid.
    """
    found = db.session.scalar(select(ContentItem).where(ContentItem.key == item, ContentItem.kind == "email"))
    topic = STREAMS[found.stream].topic if found is not None and found.stream in STREAMS else None
    errors: dict[str, list[str]] = {}
    if found is None or topic is None:
        errors["item"] = ["Choose one of the educational emails."]
    if not name.strip() or len(name) > 200:
        errors["name"] = ["Give it a name of at most 200 characters."]
    if not 1 <= late_after_hours <= rules.LONGEST_LATE:
        errors["late_after_hours"] = [f"Use 1 to {rules.LONGEST_LATE} hours."]
    audience = _audience({"tags": tags, "exclude_tags": exclude_tags}, errors, known=resend_of_id is None)
    chosen = _segments({"segments": segments, "exclude_segments": exclude_segments}, errors)
    if errors or found is None:
        raise Invalid(errors)
    made = insert(Campaign).values(
        name=name.strip(),
        item_id=found.id,
        topic=topic,
        audience={**audience, **chosen},
        state=CampaignState.DRAFT,
        created_at=clock.now(),
        created_by=audit.current().actor,
        late_after_hours=late_after_hours,
        repeat_allowed=repeat_allowed,
        resend_of_id=resend_of_id,
    )
    campaign_id: int = db.session.execute(made.returning(Campaign.id)).scalar_one()
    audit.record("campaign.drafted", object_type="campaign", object_id=campaign_id)
    return campaign_id


def _audience(
    given: Mapping[str, Sequence[str]], errors: dict[str, list[str]], *, known: bool
) -> dict[str, list[str]]:
    """Return field -> clean tags; what is wrong with a field is added to `errors`."""
    audience = {}
    for field, tags in given.items():
        try:
            audience[field] = _clean_tags(tags, known=known)
        except Invalid as error:
            errors[field] = [text for texts in error.fields.values() for text in texts]
    return audience


def _segments(given: Mapping[str, Sequence[int]], errors: dict[str, list[str]]) -> dict[str, list[int]]:
    """Return field -> ids of rules, where any were chosen; what is wrong with a field is added to `errors`."""
    known = saved_segments.rules_of([one for ids in given.values() for one in ids])
    for field, ids in given.items():
        if any(one not in known for one in ids):
            errors[field] = ["Choose segments from the list."]
    return {field: list(ids) for field, ids in given.items() if ids}


def _clean_tags(tags: Collection[str], *, known: bool) -> list[str]:
    """Return tags as people's tags are stored. Raises Invalid; with `known` also for a tag that nobody has."""
    cleaned = sorted({contacts.clean_tag(tag) for tag in tags})
    unknown = contacts.unknown_tags(cleaned) if known else {}
    if unknown:
        raise Invalid({"tags": [_unknown(tag, nearest) for tag, nearest in unknown.items()]})
    return cleaned


def _unknown(tag: str, nearest: str | None) -> str:
    return f"No one has the tag “{tag}”." + (f" Did you mean “{nearest}”?" if nearest else "")


def confirm_size(campaign_id: int, *, people: int | None) -> None:
    """Check the number that was typed to launch to more than 1,000 people; raises Invalid when it differs."""
    found = queries.recent_preflight(queries.get(campaign_id), again=True).preflight.people
    if found > rules.ASK_ABOVE and people != found:
        raise Invalid({"people": [f"{found:,} people would get this. Type that number to launch."]})


def launch(campaign_id: int, *, at: datetime | None = None) -> None:
    """Launch now, or at a later time. Raises Conflict when it is no draft, or with the reason why it cannot be sent."""
    refusal = launch_refusal(queries.get(campaign_id))
    if refusal is not None:
        raise Conflict(refusal)
    _move(
        campaign_id,
        Verb.LAUNCH,
        state=CampaignState.SCHEDULED,
        launch_at=at or clock.now(),
        launched_by=audit.current().actor,
    )
    if at is None or at <= clock.now():
        begin(campaign_id)


def _is_under_way(campaign_id: int) -> bool:
    """Return whether a call of a campaign is under way: who was missed is known once it ends."""
    sending = exists().where(Batch.campaign_id == campaign_id, Batch.state == BatchState.SENDING)
    return bool(db.session.scalar(select(sending)))


UNDER_WAY = "Emails of the first broadcast are being sent at this moment. Try again in a minute."


def launch_refusal(campaign: Campaign) -> str | None:
    """Return why a campaign cannot be launched now; None when it can.

    Its content, the policy about transports, or calls of the broadcast whose missed people it is for.
    """
    if campaign.resend_of_id is not None and _is_under_way(campaign.resend_of_id):
        return UNDER_WAY
    if not content.newest_approved([queries.item_key(campaign)], now=clock.now()):
        return "This email has no approved version."
    stream = rules.stream_of(campaign.topic)
    if transports.route(stream) is not None:
        return None
    if stream.phi:
        return (
            "No mail transport may carry this email: it tells that its recipients are patients. "
            "Set up a transport with a BAA (SMTP_URL, SMTP_HAS_BAA), then launch."
        )
    return "No mail transport is set up (SENDGRID_API_KEY or SMTP_URL)."


def begin(campaign_id: int) -> None:
    """Snapshot the audience and start sending."""
    highest = db.session.scalar(select(func.max(Contact.id))) or 0
    _move(campaign_id, Verb.BEGIN, state=CampaignState.FREEZING, launched_at=clock.now(), frozen_max=highest)
    _cancel_failed_original(campaign_id)
    enqueue("campaigns.freeze", campaign_id)


def _cancel_failed_original(campaign_id: int) -> None:
    """Cancel the failed batches of the campaign that this one repeats, so they cannot be sent again there."""
    original = db.session.scalar(select(Campaign.resend_of_id).where(Campaign.id == campaign_id))
    if original is not None:
        db.session.execute(
            update(Batch)
            .where(Batch.campaign_id == original, Batch.state == BatchState.FAILED)
            .values(state=BatchState.CANCELLED, state_at=clock.now(), settled_by=f"campaign:{campaign_id}")
        )


def pause(campaign_id: int) -> None:
    """Hold all unsent batches. Calls under way finish."""
    _move(campaign_id, Verb.PAUSE, state=CampaignState.PAUSED)
    messages.hold(campaign_id=campaign_id)


def resume(campaign_id: int) -> None:
    """Resume after a pause; emails that expired meanwhile are listed and not sent."""
    frozen = queries.get(campaign_id).frozen_at is not None
    _move(campaign_id, Verb.RESUME, state=CampaignState.SENDING if frozen else CampaignState.FREEZING)
    switches.reset_breaker(f"campaign:{campaign_id}")
    alerts.close(f"campaign:{campaign_id}")
    messages.unhold(campaign_id=campaign_id)


def cancel(campaign_id: int) -> rules.Progress:
    """Cancel the rest; people who were missed are listed. Returns the progress: calls under way may still be accepted."""
    _move(campaign_id, Verb.CANCEL, state=CampaignState.CANCELLED, finished_at=clock.now())
    messages.cancel(campaign_id=campaign_id)
    return queries.progress(queries.get(campaign_id))


def resend(campaign_id: int) -> int:
    """Draft a second campaign to the people who were missed; return its id. A discarded one does not count.

    People whose email was or may have been sent are not included. Raises Conflict while this campaign runs, or when a
    second one exists.
    """
    campaign = queries.get(campaign_id)
    if campaign.state not in rules.ALLOWED_IN[Verb.RESEND] or (
        campaign.launched_at and campaign.frozen_at is None
    ):
        raise Conflict("Wait until this broadcast has ended.")
    if _is_under_way(campaign_id):
        raise Conflict(UNDER_WAY)
    others = exists().where(
        Campaign.resend_of_id == campaign_id,
        or_(Campaign.state != CampaignState.CANCELLED, Campaign.launched_at.is_not(None)),
    )
    if db.session.scalar(select(others)):
        raise Conflict("A broadcast to the people who were missed exists already. Open it in the list.")
    return create(
        name=f"{campaign.name[:180]} (to the rest)",
        item=queries.item_key(campaign),
        tags=campaign.audience.get("tags", ()),
        exclude_tags=campaign.audience.get("exclude_tags", ()),
        segments=campaign.audience.get("segments", ()),
        exclude_segments=campaign.audience.get("exclude_segments", ()),
        late_after_hours=campaign.late_after_hours,
        repeat_allowed=campaign.repeat_allowed,
        resend_of_id=campaign_id,
    )


_OPEN = text("""
    select id, state, launch_at <= :now as due, launched_at is not null and frozen_at is null as unfrozen
    from campaign where state in ('scheduled','freezing','sending') or (launched_at is not null and frozen_at is null)
    order by id
""")
_FINISH = text("""
    update campaign c set state = 'finished', finished_at = :now, version = version + 1
    where c.id = :id and c.state = 'sending' and c.frozen_at is not null and not exists (
        select 1 from batch b where b.campaign_id = c.id and b.state in ('ready', 'held', 'sending'))
    returning id
""")
# A call that was under way when the broadcast was paused or cancelled may give its batch back as `ready`.
_CANCEL_RETURNED = text("""
    update batch b set state = 'cancelled', state_at = :now from campaign c
    where c.id = b.campaign_id and c.state = 'cancelled' and b.state in ('ready', 'held')
""")
# The lock keeps a resume from overlooking a batch that is held at this moment.
_HOLD_RETURNED = text("""
    with paused as (select id from campaign where state = 'paused' for share)
    update batch b set state = 'held', state_at = :now from paused where paused.id = b.campaign_id and b.state = 'ready'
""")


class OpenCampaign(NamedTuple):
    """A campaign that maintenance has to look at."""

    id: int
    state: str
    due: bool | None  # its launch time has come
    unfrozen: bool  # launched, and its audience is not complete


def open_campaigns() -> list[OpenCampaign]:
    """Return the campaigns that are scheduled, running, or whose audience is not complete."""
    return rows_as(OpenCampaign, db.session.execute(_OPEN, {"now": clock.now()}))


def look_after(campaign: OpenCampaign) -> None:
    """Begin a due campaign, continue interrupted freezing, pause a failing one, finish a complete one.

    For a transaction of its own: what fails in one campaign must not stop the others.
    """
    if campaign.state == CampaignState.SCHEDULED and campaign.due:
        _begin_if_possible(campaign.id)
    elif campaign.unfrozen:
        enqueue("campaigns.freeze", campaign.id)
    if campaign.state in rules.ALLOWED_IN[Verb.PAUSE] and not _pause_if_refused(campaign.id):
        _pause_tripped([campaign.id])
    for campaign_id in db.session.scalars(_FINISH, {"id": campaign.id, "now": clock.now()}).all():
        audit.record("campaign.finished", object_type="campaign", object_id=campaign_id)


def _begin_if_possible(campaign_id: int) -> None:
    """Begin a due campaign, unless another process has; while policy or content refuse it, it waits with an alert."""
    campaign = queries.get(campaign_id)
    db.session.refresh(campaign, with_for_update=True)
    if campaign.state != CampaignState.SCHEDULED:
        return
    key, refusal = f"campaign-refused:{campaign_id}", launch_refusal(campaign)
    if refusal is None:
        alerts.close(key)
        begin(campaign_id)
        return
    alerts.raise_alert(
        key=key,
        level="danger",
        text=f"The broadcast “{campaign.name}” is due and cannot begin. {refusal}",
        link=f"/console/campaigns/{campaign_id}",
    )


def settle_returned_batches() -> None:
    """Cancel the batches that came back to a cancelled campaign, and hold those of a paused one."""
    db.session.execute(_CANCEL_RETURNED, {"now": clock.now()})
    db.session.execute(_HOLD_RETURNED, {"now": clock.now()})


def report_stuck(campaign_id: int, *, part: str, error: str) -> None:
    """Raise an alert that names a campaign whose `part` (freeze, maintenance) failed. `error` is the error's type."""
    campaign = queries.get(campaign_id)
    alerts.raise_alert(
        key=f"campaign-{part}:{campaign_id}",
        level="danger",
        text=f"The broadcast “{campaign.name}” cannot go on ({error}). It is tried again by itself; if this stays, "
        "cancel it and send to the rest.",
        link=f"/console/campaigns/{campaign_id}",
    )


def report_unstuck(campaign_id: int, *, part: str) -> None:
    """Close the alert of `report_stuck`."""
    alerts.close(f"campaign-{part}:{campaign_id}")


def _pause_if_refused(campaign_id: int) -> bool:
    if queries.refused_batches(campaign_id) < rules.FAILURES_TO_PAUSE:
        return False
    _pause_with_alert(campaign_id, why="the mail provider refused several of its batches for good")
    return True


def _pause_tripped(campaign_ids: Collection[int]) -> None:
    """Pause campaigns whose circuit breaker tripped: bounces and complaints about their own emails."""
    for rates in circuit_breakers.campaign_rates(campaign_ids):
        if rates.verdict is not None:
            _pause_with_alert(int(rates.scope), why=rates.verdict)


def _pause_with_alert(campaign_id: int, *, why: str) -> None:
    pause(campaign_id)
    alerts.raise_alert(
        key=f"campaign:{campaign_id}",
        level="danger",
        text=f"A broadcast was paused automatically: {why}.",
        link=f"/console/campaigns/{campaign_id}",
    )


def _move(campaign_id: int, verb: Verb, **values: object) -> None:
    """Move a campaign in one conditional statement, so that of two concurrent requests one is refused."""
    done = db.session.execute(
        update(Campaign)
        .where(Campaign.id == campaign_id, Campaign.state.in_(rules.ALLOWED_IN[verb]))
        .values(**values, version=Campaign.version + 1)
        .returning(Campaign.id)
        .execution_options(synchronize_session=False)
    ).first()
    if done is None:
        state = queries.get(campaign_id).state
        raise Conflict(f"This broadcast is {state}.")
    db.session.expire_all()
    audit.record(f"campaign.{verb}", object_type="campaign", object_id=campaign_id)
