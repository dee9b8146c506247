"""Schemas of the desk API."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from crm.consultations import service as consultations
from crm.intake.schemas import CleanString, single_line, text_of
from crm.leads import contact_attempts as attempts
from crm.leads import rules

STAGES = sorted({stage for stages in rules.STAGES.values() for stage in stages})
REASONS = sorted(
    {reason for stages in rules.STAGES.values() for one in stages.values() for reason in one.reasons}
)
BIGGEST_ID = 2**63 - 1


class LeadSchema(Schema):
    """One lead without anything clinical. `version` also comes as ETag; changes ask for it back as If-Match."""

    reference = fields.String(metadata={"example": "R-7K3F9Q"})
    version = fields.Integer()
    kind = fields.String()
    stage = fields.String()
    reason = fields.String(allow_none=True)
    owner_id = fields.Integer(allow_none=True)
    source = fields.String()
    first_name = fields.String()
    last_name = fields.String()
    email = fields.String(allow_none=True)
    phone = fields.String(allow_none=True)
    language = fields.String()
    attempts = fields.Integer()
    created_at = fields.AwareDateTime()
    stage_at = fields.AwareDateTime()
    due_at = fields.AwareDateTime(allow_none=True)
    first_human_touch_at = fields.AwareDateTime(allow_none=True)
    closed_at = fields.AwareDateTime(allow_none=True)


FIELDS = tuple(LeadSchema().fields)


class FieldsSchema(Schema):
    """Which fields to return."""

    fields_ = fields.String(
        data_key="fields",
        load_default="",
        metadata={"description": f"Names with commas between, of: {', '.join(FIELDS)}. Empty: all."},
    )

    @validates_schema
    def _known(self, data: dict[str, Any], **_options: Any) -> None:
        unknown = sorted(set(filter(None, data["fields_"].split(","))) - set(FIELDS))
        if unknown:
            raise ValidationError("Unknown field.", "fields")


class LeadQuerySchema(FieldsSchema):
    """Which leads, newest first. `owner_id` 0: unassigned."""

    kind = fields.String(load_default="", validate=validate.OneOf(("", *rules.KINDS)))
    stage = fields.String(load_default="", validate=validate.OneOf(("", *STAGES)))
    state = fields.String(load_default="", validate=validate.OneOf(("", "open", "overdue", "ended")))
    owner_id = fields.Integer(load_default=None, strict=False, validate=validate.Range(min=0, max=BIGGEST_ID))
    cursor = fields.String(load_default=None, metadata={"description": "`next` of the page before."})
    limit = fields.Integer(load_default=50, validate=validate.Range(min=1, max=200))


class LeadPageSchema(Schema):
    """Some leads, and the cursor of the older ones."""

    leads = fields.List(fields.Nested(LeadSchema))
    next = fields.String(allow_none=True)


class IfMatchSchema(Schema):
    """The version a change is made to."""

    if_match = fields.String(
        data_key="If-Match",
        load_default=None,
        metadata={"description": "The ETag of the lead as it was read."},
    )


class MoveSchema(Schema):
    """A move to another stage."""

    to = fields.String(required=True, validate=validate.OneOf(STAGES))
    reason = fields.String(load_default=None, allow_none=True, validate=validate.OneOf(REASONS))


class OwnerSchema(Schema):
    """The owner of a lead; null unassigns it."""

    owner_id = fields.Integer(
        required=True, allow_none=True, strict=True, validate=validate.Range(min=1, max=BIGGEST_ID)
    )


class NoteSchema(Schema):
    """A note for the timeline; stored encrypted."""

    text = CleanString(text_of(4000), required=True)


class NotedSchema(Schema):
    """The lead a note was added to."""

    reference = fields.String()


class CursorSchema(Schema):
    """Which page of a list."""

    cursor = fields.String(load_default=None, metadata={"description": "`next` of the page before."})
    limit = fields.Integer(load_default=50, validate=validate.Range(min=1, max=200))


class EntrySchema(Schema):
    """One line of a timeline."""

    at = fields.AwareDateTime()
    source = fields.String(metadata={"description": "activity, consent, mail, entered or left (a sequence)"})
    kind = fields.String()
    title = fields.String(metadata={"example": "Moved from “new” to “contacted”"})
    why = fields.String(allow_none=True)


class TimelineSchema(Schema):
    """Some lines of a timeline, and the cursor of the older ones."""

    entries = fields.List(fields.Nested(EntrySchema))
    next = fields.String(allow_none=True)


class CallSchema(Schema):
    """One attempt to reach a person; the note is stored encrypted."""

    channel = fields.String(required=True, validate=validate.OneOf(sorted(attempts.CHANNELS)))
    outcome = fields.String(required=True, validate=validate.OneOf(sorted(attempts.OUTCOMES)))
    note = CleanString(text_of(2000), load_default="")
    call_again_at = fields.AwareDateTime(load_default=None, allow_none=True)


class NewTaskSchema(Schema):
    """A task with a due time. The title shows in lists: no health details."""

    title = CleanString(single_line(120), required=True)
    due_at = fields.AwareDateTime(required=True)
    owner_id = fields.Integer(
        load_default=None, allow_none=True, strict=True, validate=validate.Range(min=1, max=BIGGEST_ID)
    )


class MadeSchema(Schema):
    """The id of what was created or done."""

    id = fields.Integer()


class TaskSchema(Schema):
    """One open task."""

    id = fields.Integer()
    reference = fields.String()
    kind = fields.String()
    title = fields.String()
    due_at = fields.AwareDateTime()
    owner_id = fields.Integer(allow_none=True)


class TaskPageSchema(Schema):
    """Some tasks, and the cursor of the later ones."""

    tasks = fields.List(fields.Nested(TaskSchema))
    next = fields.String(allow_none=True)


class NewConsultationSchema(Schema):
    """Time and length of a consultation."""

    starts_at = fields.AwareDateTime(required=True)
    minutes = fields.Integer(load_default=60, validate=validate.OneOf(consultations.LENGTHS))
    confirmed = fields.Boolean(load_default=False)  # also outside opening hours, or beside another


class ConsultationSchema(Schema):
    """A booked consultation."""

    id = fields.Integer()
    starts_at = fields.AwareDateTime()
    minutes = fields.Integer()
    state = fields.String()
