"""Broadcasts for other systems."""

from dataclasses import asdict
from typing import Any

from flask_smorest import Blueprint

from crm.campaigns import queries, service
from crm.campaigns.rules import CampaignState
from crm.campaigns.schemas import (
    CampaignSchema,
    CursorSchema,
    DraftSchema,
    EmptySchema,
    LaunchSchema,
    MissedPageSchema,
    PreflightSchema,
)
from crm.core.paging import Page
from crm.staff.keys.api_auth import once, require_scope

blueprint = Blueprint("campaigns-api", __name__, description="Broadcasts")
SCOPE = "campaigns:write"


@blueprint.route("/campaigns", methods=["POST"])
@require_scope(SCOPE)
@blueprint.arguments(DraftSchema)
@blueprint.response(201, CampaignSchema)
@once
def create_campaign(data: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Draft a campaign. Nothing is sent before it is launched."""
    return {"id": service.create(**data), "state": CampaignState.DRAFT}, 201


@blueprint.route("/campaigns/<int:campaign_id>")
@require_scope(SCOPE)
@blueprint.response(200, CampaignSchema)
def show_campaign(campaign_id: int) -> dict[str, Any]:
    """Return one campaign and its progress."""
    campaign = queries.get(campaign_id)
    shown = {name: getattr(campaign, name) for name in CampaignSchema().fields if name != "progress"}
    return shown | {"progress": queries.progress(campaign)}


@blueprint.route("/campaigns/<int:campaign_id>/preflight")
@require_scope(SCOPE)
@blueprint.response(200, PreflightSchema)
def preflight(campaign_id: int) -> dict[str, Any]:
    """Return how many people it would reach now, how many it would skip, by reason, and why a launch would be refused."""
    campaign = queries.get(campaign_id)
    return asdict(queries.preflight(campaign)) | {"refusal": service.launch_refusal(campaign)}


@blueprint.route("/campaigns/<int:campaign_id>/not-sent")
@require_scope(SCOPE)
@blueprint.arguments(CursorSchema, location="query")
@blueprint.response(200, MissedPageSchema)
def not_sent(data: dict[str, Any], campaign_id: int) -> Page[queries.Missed]:
    """List the people who were missed, and why, a page at a time."""
    return queries.not_sent(queries.get(campaign_id).id, cursor=data["cursor"])


@blueprint.route("/campaigns/<int:campaign_id>/launch", methods=["POST"])
@require_scope(SCOPE)
@blueprint.arguments(LaunchSchema)
@blueprint.response(200, CampaignSchema)
def launch_campaign(data: dict[str, Any], campaign_id: int) -> dict[str, Any]:
    """Launch now or at a time. Above 1,000 people, give the number of people you expect to reach."""
    service.confirm_size(campaign_id, people=data["people"])
    service.launch(campaign_id, at=data["at"])
    return _summary(campaign_id)


@blueprint.route("/campaigns/<int:campaign_id>/<any(pause, resume, cancel):verb>", methods=["POST"])
@require_scope(SCOPE)
@blueprint.arguments(EmptySchema)
@blueprint.response(200, CampaignSchema)
def move_campaign(_data: dict[str, Any], campaign_id: int, verb: str) -> dict[str, Any]:
    """Pause, resume or cancel. Sent emails cannot be recalled; the answer has the numbers waiting and cancelled."""
    {"pause": service.pause, "resume": service.resume, "cancel": service.cancel}[verb](campaign_id)
    return _summary(campaign_id)


@blueprint.route("/campaigns/<int:campaign_id>/resend", methods=["POST"])
@require_scope(SCOPE)
@blueprint.arguments(EmptySchema)
@blueprint.response(201, CampaignSchema)
@once
def resend_campaign(_data: dict[str, Any], campaign_id: int) -> tuple[dict[str, Any], int]:
    """Draft a campaign to the people who were missed."""
    return {"id": service.resend(campaign_id), "state": CampaignState.DRAFT}, 201


def _summary(campaign_id: int) -> dict[str, Any]:
    campaign = queries.get(campaign_id)
    return {"id": campaign.id, "state": campaign.state, "progress": asdict(queries.progress(campaign))}
