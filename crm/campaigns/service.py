"""The verbs of a broadcast: draft, launch, pause, resume, cancel, send again to whom it did not reach."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import exists, func, insert, select, text, update

from crm.audit import service as audit
from crm.campaigns import queries, rules
from crm.campaigns.models import Campaign
from crm.contacts.models import Contact
from crm.content import service as content
from crm.content.models import ContentItem
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid
from crm.core.queue import enqueue
from crm.messages import service as messages
from crm.messages.limits import circuit_breakers, switches
from crm.messages.models import Batch
from crm.messages.rules import STREAMS
from crm.staff import alerts


def create(
    *,
    name: str,
    item: str,
    tags: Sequence[str] = (),
    exclude_tags: Sequence[str] = (),
    late_after_hours: int = 24,
    resend_of_id: int | None = None,
) -> int:
    """Draft a campaign: the content item `item` to everyone who said yes to its topic; return its id.

    With `tags`, only to those of them who have one of the tags; never to who has one of `exclude_tags`. Raises Invalid.
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
    if errors or found is None:
        raise Invalid(errors)
    audience = {"tags": sorted(set(tags)), "exclude_tags": sorted(set(exclude_tags))}
    made = insert(Campaign).values(
        name=name.strip(),
        item_id=found.id,
        topic=topic,
        audience=audience,
        state="draft",
        created_at=clock.now(),
        created_by=audit.current().actor,
        late_after_hours=late_after_hours,
        resend_of_id=resend_of_id,
    )
    campaign_id: int = db.session.execute(made.returning(Campaign.id)).scalar_one()
    audit.record("campaign.drafted", object_type="campaign", object_id=campaign_id)
    return campaign_id


def confirm_size(campaign_id: int, *, people: int | None) -> None:
    """Above 1,000 people, somebody must have said the number; raises Invalid when it is another one."""
    found = queries.preflight(queries.get(campaign_id)).people
    if found > rules.ASK_ABOVE and people != found:
        raise Invalid({"people": [f"{found:,} people would get this. Give that number to launch."]})


def launch(campaign_id: int, *, at: datetime | None = None) -> None:
    """Launch now, or at a later time. Raises Conflict when it is no draft or its content is not approved."""
    campaign = queries.get(campaign_id)
    if not content.newest([queries.item_key(campaign)], now=clock.now()):
        raise Conflict("This email has no approved version.")
    _move(
        campaign_id,
        "launch",
        state="scheduled",
        launch_at=at or clock.now(),
        launched_by=audit.current().actor,
    )
    if at is None or at <= clock.now():
        begin(campaign_id)


def begin(campaign_id: int) -> None:
    """Fix who is meant, this very moment, and have them written down while sending runs."""
    highest = db.session.scalar(select(func.max(Contact.id))) or 0
    _move(campaign_id, "begin", state="freezing", launched_at=clock.now(), frozen_max=highest)
    _give_up_failed_original(campaign_id)
    enqueue("campaigns.freeze", campaign_id)


def _give_up_failed_original(campaign_id: int) -> None:
    """What failed of the campaign before is this one's now; nobody can decide to send it again there."""
    original = db.session.scalar(select(Campaign.resend_of_id).where(Campaign.id == campaign_id))
    if original is not None:
        db.session.execute(
            update(Batch)
            .where(Batch.campaign_id == original, Batch.state == "failed")
            .values(state="cancelled", state_at=clock.now(), settled_by=f"campaign:{campaign_id}")
        )


def pause(campaign_id: int) -> None:
    """Hold everything that has not left. Calls under way end by themselves."""
    _move(campaign_id, "pause", state="paused")
    messages.hold(campaign_id=campaign_id)


def resume(campaign_id: int) -> None:
    """Go on where it was paused; what has become too late meanwhile is listed and does not leave."""
    frozen = queries.get(campaign_id).frozen_at is not None
    _move(campaign_id, "resume", state="sending" if frozen else "freezing")
    switches.count_anew(f"campaign:{campaign_id}")
    alerts.close(f"campaign:{campaign_id}")
    messages.unhold(campaign_id=campaign_id)


def cancel(campaign_id: int) -> rules.Progress:
    """End it; who has not got it is listed. Returns how it stands: calls under way may still be accepted."""
    _move(campaign_id, "cancel", state="cancelled", finished_at=clock.now())
    messages.cancel(campaign_id=campaign_id)
    return queries.progress(queries.get(campaign_id))


def resend(campaign_id: int) -> int:
    """Draft a second campaign to whom this one did not reach and who may be written to; return its id.

    Whoever's email left, or may have left, is not among them. Raises Conflict while this one still runs, or when there
    is a second one already.
    """
    campaign = queries.get(campaign_id)
    if campaign.state not in rules.MOVES["resend"] or (campaign.launched_at and campaign.frozen_at is None):
        raise Conflict("Wait until this campaign has ended.")
    if db.session.scalar(select(exists().where(Campaign.resend_of_id == campaign_id))):
        raise Conflict("There is a campaign to the rest already.")
    return create(
        name=f"{campaign.name[:180]} (to the rest)",
        item=queries.item_key(campaign),
        tags=campaign.audience.get("tags", ()),
        exclude_tags=campaign.audience.get("exclude_tags", ()),
        late_after_hours=campaign.late_after_hours,
        resend_of_id=campaign_id,
    )


_OPEN = text("""
    select id, state, launch_at <= :now as due, launched_at is not null and frozen_at is null as unfrozen
    from campaign where state in ('scheduled','freezing','sending') or (launched_at is not null and frozen_at is null)
""")
_FINISH = text("""
    update campaign c set state = 'finished', finished_at = :now, version = version + 1
    where c.state = 'sending' and c.frozen_at is not null and not exists (
        select 1 from batch b where b.campaign_id = c.id and b.state in ('ready', 'held', 'sending'))
    returning id
""")


def run_maintenance() -> None:
    """Begin what is due, ask again for freezing that was interrupted, stop what fails, finish what is done."""
    now = clock.now()
    running = set()
    for row in db.session.execute(_OPEN, {"now": now}).all():
        if row.state == "scheduled" and row.due:
            begin(row.id)
        elif row.unfrozen:
            enqueue("campaigns.freeze", row.id)
        if row.state in rules.MOVES["pause"] and not _stop_when_refused(row.id):
            running.add(row.id)
    _stop_what_annoys(running)
    for campaign_id in db.session.scalars(_FINISH, {"now": now}).all():
        audit.record("campaign.finished", object_type="campaign", object_id=campaign_id)


def _stop_when_refused(campaign_id: int) -> bool:
    if queries.refused_batches(campaign_id) < rules.FAILURES_TO_PAUSE:
        return False
    _stop_itself(campaign_id, why="the mail provider refused several of its batches for good")
    return True


def _stop_what_annoys(campaign_ids: Collection[int]) -> None:
    """The breaker of a campaign: bounces and complaints about its own emails."""
    for rates in circuit_breakers.of_campaigns(campaign_ids):
        if rates.verdict is not None:
            _stop_itself(int(rates.scope), why=rates.verdict)


def _stop_itself(campaign_id: int, *, why: str) -> None:
    pause(campaign_id)
    alerts.raise_alert(
        key=f"campaign:{campaign_id}",
        level="danger",
        text=f"A campaign paused itself: {why}.",
        link=f"/console/campaigns/{campaign_id}",
    )


def _move(campaign_id: int, verb: str, **values: object) -> None:
    """Move a campaign in one conditional statement, so that of two people who press at once one is refused."""
    done = db.session.execute(
        update(Campaign)
        .where(Campaign.id == campaign_id, Campaign.state.in_(rules.MOVES[verb]))
        .values(**values, version=Campaign.version + 1)
        .returning(Campaign.id)
        .execution_options(synchronize_session=False)
    ).first()
    if done is None:
        state = queries.get(campaign_id).state
        raise Conflict(f"This campaign is {state}.")
    db.session.expire_all()
    audit.record(f"campaign.{verb}", object_type="campaign", object_id=campaign_id)
