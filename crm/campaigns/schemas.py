"""Schemas of the campaigns API."""

from typing import Any

from marshmallow import Schema, fields, validate

from crm.intake.schemas import CleanString, single_line

TAG = validate.Regexp(r"^[\w .:-]{1,60}\Z", error="Use up to 60 letters, digits, spaces and . : - _")


def _tags() -> "fields.List[Any]":
    return fields.List(fields.String(validate=TAG), load_default=list, validate=validate.Length(max=50))


class DraftSchema(Schema):
    """A draft. People who had this very version of the email are left out, unless `repeat_allowed`."""

    name = CleanString(single_line(200), required=True, metadata={"example": "Autumn news"})
    item = fields.String(required=True, metadata={"example": "contact-request/01-welcome"})
    tags = _tags()
    exclude_tags = _tags()
    late_after_hours = fields.Integer(load_default=24)
    repeat_allowed = fields.Boolean(load_default=False)


class LaunchSchema(Schema):
    """When to launch; empty: now. Above 1,000 people, `people` is the number that the caller expects to reach."""

    at = fields.AwareDateTime(load_default=None)
    people = fields.Integer(load_default=None)


class EmptySchema(Schema):
    """An empty object."""


class ProgressSchema(Schema):
    """Progress in people; each is counted once."""

    people = fields.Integer()
    waiting = fields.Integer()
    accepted = fields.Integer()
    left_out = fields.Integer()
    failed = fields.Integer()
    uncertain = fields.Integer()
    cancelled = fields.Integer()


class CampaignSchema(Schema):
    """One campaign."""

    id = fields.Integer()
    name = fields.String()
    state = fields.String()
    topic = fields.String()
    audience: Any = fields.Dict()
    created_at = fields.AwareDateTime()
    launch_at = fields.AwareDateTime()
    launched_at = fields.AwareDateTime()
    frozen_at = fields.AwareDateTime()
    finished_at = fields.AwareDateTime()
    resend_of_id = fields.Integer()
    progress = fields.Nested(ProgressSchema)


class PreflightSchema(Schema):
    """How many people it would reach now, how many it would skip, by reason, and whether it may be launched."""

    people = fields.Integer()
    skipped = fields.Dict(keys=fields.String(), values=fields.Integer())
    had = fields.Integer(metadata={"description": "Had this very version, among both."})
    refusal = fields.String(
        metadata={"description": "Why a launch would be refused now; null when it would not."}
    )


class MissedSchema(Schema):
    """One person who was missed."""

    contact_id = fields.Integer()
    state = fields.String()
    reason = fields.String()


class MissedPageSchema(Schema):
    """A page of them, and the cursor of the next page."""

    rows = fields.List(fields.Nested(MissedSchema))
    next = fields.String()


class CursorSchema(Schema):
    """The cursor of a page."""

    cursor = fields.String(load_default=None)
