"""Why a person got, or did not get, an email, for other systems: ids and reasons, no names and no addresses."""

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from crm.explain import service as why
from crm.staff.keys.api_auth import require_scope

blueprint = Blueprint("why-api", __name__, description="Why a person got, or did not get, an email")
SCOPE = "messages:read"


class FactSchema(Schema):
    """One thing that happened or was decided."""

    at = fields.AwareDateTime()
    part = fields.String(metadata={"example": "consent"})
    text = fields.String()
    why = fields.String(allow_none=True)
    quote = fields.String(allow_none=True, metadata={"description": "The words the person was shown."})
    ids: Any = fields.Dict(metadata={"description": "The rows it stands in."})


class AnswerSchema(Schema):
    """The answer and its evidence, oldest first."""

    contact_id = fields.Integer()
    got = fields.String(metadata={"example": "no", "description": "yes, no, waiting or in_doubt"})
    short = fields.String()
    reason = fields.String(allow_none=True, metadata={"example": "withdrawn"})
    because = fields.String(allow_none=True)
    about = fields.String()
    at = fields.AwareDateTime(allow_none=True)
    message_id = fields.Integer(allow_none=True)
    batch_id = fields.Integer(allow_none=True)
    campaign_id = fields.Integer(allow_none=True)
    sequence_id = fields.Integer(allow_none=True)
    step = fields.Integer(allow_none=True)
    facts = fields.List(fields.Nested(FactSchema))


@blueprint.route("/messages/<int:message_id>/why")
@require_scope(SCOPE)
@blueprint.response(200, AnswerSchema)
def why_message(message_id: int) -> why.Answer:
    """Consent, rules, content, batch, attempts and events of one email."""
    return why.of_message(message_id)


@blueprint.route("/campaigns/<int:campaign_id>/people/<int:contact_id>/why")
@require_scope(SCOPE)
@blueprint.response(200, AnswerSchema)
def why_campaign(campaign_id: int, contact_id: int) -> why.Answer:
    """The same for a person and a broadcast, whether they got it or not."""
    return why.of_campaign(campaign_id, contact_id)


@blueprint.route("/sequences/<key>/emails/<int:step>/people/<int:contact_id>/why")
@require_scope(SCOPE)
@blueprint.response(200, AnswerSchema)
def why_step(key: str, step: int, contact_id: int) -> why.Answer:
    """The same for a person and an email of a sequence, counted from 1."""
    return why.of_step(key, step, contact_id)
