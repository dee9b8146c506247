"""Schemas of the intake API. Unknown fields are refused."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from crm.consent import consent_texts
from crm.consent.consent_texts import Wording
from crm.contacts import rules as people
from crm.contacts.rules import InvalidValue
from crm.core import clock
from crm.core.text import clean
from crm.intake.values import LeftOut, clean_diagnosis, label_of, list_value
from crm.leads import rules
from crm.referrers.rules import is_npi_format
from crm.referrers.service import NPI_HINT


class NormalizedString(fields.String):
    """Text that a rule normalizes or refuses; "" and "N/A" mean not given if the field is optional."""

    def __init__(self, rule: Callable[[str], Any], **options: Any) -> None:
        super().__init__(**options)
        self.rule = rule

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        text = super()._deserialize(value, attr, data, **options)
        if text is None or (people.means_nothing(text) and not self.required):
            return None
        try:
            return self.rule(text)
        except InvalidValue as error:
            raise ValidationError(str(error)) from error


class OptionalString(NormalizedString):
    """Optional text that a rule normalizes; what it cannot read becomes a `LeftOut` with the default.

    `label` names it for staff; without one the field's name does.
    """

    def __init__(
        self,
        rule: Callable[[str], str],
        *,
        load_default: str | None = None,
        label: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(rule, load_default=load_default, allow_none=True, **options)
        self.label = label

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        default = self.load_default
        try:
            return super()._deserialize(value, attr, data, **options) or default
        except ValidationError:
            if not isinstance(value, str):
                raise
            return LeftOut(default, listed=list_value(self.label or label_of(attr or "value"), value))

    def deserialize(self, value: Any, *args: Any, **options: Any) -> Any:
        """Read null as not given."""
        return self.load_default if value is None else super().deserialize(value, *args, **options)


def take_left_out(data: Any) -> list[str]:
    """Replace what was left out by its default, in place and at any depth; return what staff see of it."""
    listed = []
    pairs = list(data.items() if isinstance(data, dict) else enumerate(data))
    for place, value in pairs:
        if isinstance(value, LeftOut):
            listed.append(value.listed)
            data[place] = str(value) or None
        elif isinstance(value, dict | list):
            listed += take_left_out(value)
    if isinstance(data, list):
        data[:] = [value for value in data if value is not None]
    return listed


def single_line(limit: int) -> Callable[[str], str]:
    """Return a rule for one line of text of at most `limit` characters."""
    return lambda text: people.clean_text(text, limit=limit, lines=False)


def _message(text: str) -> str:
    return people.clean_text(text, limit=rules.MESSAGE_LIMIT)


def _heard_from(text: str) -> str:
    word = clean(text, lines=False).lower()
    if word not in rules.HEARD_FROM:
        raise InvalidValue("choice")
    return word


def _birth_date(text: str) -> date:
    return people.read_birth_date(text, today=clock.today())


def _npi(text: str) -> str:
    text = clean(text, lines=False)
    if not is_npi_format(text):
        raise ValidationError(NPI_HINT)
    return text


def _name(example: str) -> NormalizedString:
    described = {"example": example, "description": "One of first and last name is enough."}
    return NormalizedString(people.clean_name, load_default=None, metadata=described)


class PersonSchema(Schema):
    """Fields of a person that both kinds of intake share."""

    first_name = _name("Ana")
    last_name = _name("Ruiz")
    phone = OptionalString(people.clean_phone, metadata={"example": "+12135550142"})
    language = OptionalString(
        people.clean_language, load_default="en", metadata={"enum": list(people.LANGUAGES)}
    )
    state = OptionalString(people.clean_state, metadata={"example": "CA"})
    time_zone = NormalizedString(people.clean_zone, load_default=None, allow_none=True)

    @validates_schema(skip_on_field_errors=False)
    def _named(self, data: dict[str, Any], **_options: Any) -> None:
        """Require one of the names; both stay texts."""
        names = [data.get("first_name", ""), data.get("last_name", "")]
        if names in ([None, None], [None, ""], ["", None]):
            raise ValidationError(
                {name: [people.REASONS["required"]] for name in ("first_name", "last_name")}
            )


class FirstTouchSchema(Schema):
    """Attribution of a visitor. Longer values are cut."""

    utm_source = fields.String()
    utm_medium = fields.String()
    utm_campaign = fields.String()
    utm_term = fields.String()
    utm_content = fields.String()
    landing_page = fields.String()
    referring_host = fields.String()


class ContactRequestSchema(PersonSchema):
    """A contact request. `wording` names the text beside the checkbox that the person ticked."""

    email = NormalizedString(people.clean_email, required=True, metadata={"example": "ana.ruiz@example.com"})
    heard_from = OptionalString(_heard_from, metadata={"enum": list(rules.HEARD_FROM)})
    message = NormalizedString(_message, load_default=None, allow_none=True)
    educational_email = fields.Boolean(load_default=False, truthy={True}, falsy={False})
    wording = fields.String(load_default=None, allow_none=True, metadata={"example": "contact-form/1"})
    first_touch = fields.Nested(FirstTouchSchema, load_default=None, allow_none=True)

    @validates_schema
    def _box(self, data: dict[str, Any], **_options: Any) -> None:
        if data["educational_email"]:
            known_wording(data["wording"], key="contact-form", language=data["language"], field="wording")


def known_wording(name: str | None, *, key: str, language: str, field: str) -> Wording:
    """Return the wording of this name and kind. Raises ValidationError that names the current one."""
    try:
        if name is not None and name.startswith(f"{key}/"):
            return consent_texts.find(name, language)
    except KeyError:
        pass
    raise ValidationError(
        f"Name the wording that was agreed to; in use now: {consent_texts.current(key, language).name}.",
        field,
    )


class ReferrerSchema(Schema):
    """The referring clinician."""

    name = NormalizedString(single_line(120), required=True)
    npi = NormalizedString(
        _npi, required=True, metadata={"example": "1234567893", "description": "Its format is checked."}
    )
    practice = NormalizedString(single_line(200), required=True)
    phone = NormalizedString(people.clean_phone, required=True)
    fax = OptionalString(people.clean_phone)
    email = OptionalString(people.clean_email)
    contact_person = OptionalString(single_line(120))


class GuardianSchema(Schema):
    """The guardian of a minor."""

    name = NormalizedString(single_line(120), required=True)
    relation = NormalizedString(single_line(60), required=True)
    phone = OptionalString(people.clean_phone)


class PatientSchema(PersonSchema):
    """The patient. A phone number is required, because staff call them."""

    phone = NormalizedString(  # type: ignore[assignment]  # of a patient it is required
        people.clean_phone, required=True, metadata={"example": "+12135550142"}
    )
    email = OptionalString(people.clean_email)
    birth_date = NormalizedString(
        _birth_date, required=True, metadata={"example": "1970-05-17", "format": "date"}
    )
    preferred_contact = fields.String(load_default="phone", validate=validate.OneOf(("phone", "email")))
    guardian = fields.Nested(GuardianSchema, load_default=None, allow_none=True)

    @validates_schema
    def _age(self, data: dict[str, Any], **_options: Any) -> None:
        if _years(data["birth_date"], clock.today()) < 18 and data["guardian"] is None:
            raise ValidationError("A patient under 18 needs a guardian.", "guardian")


def _years(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


class ReasonSchema(Schema):
    """The reason. Stored encrypted; codes are ICD-10-CM."""

    text = NormalizedString(lambda text: people.clean_text(text, limit=2000), required=True)
    diagnoses = fields.List(
        OptionalString(clean_diagnosis, label="Diagnosis"),
        load_default=list,
        validate=validate.Length(max=12),
        metadata={"example": ["G90.511"]},
    )


class PayerSchema(Schema):
    """The payer. Stored encrypted."""

    name = NormalizedString(single_line(120), required=True)
    member_id = OptionalString(single_line(60))


class ReferralSchema(Schema):
    """A referral. `agreed_to_email` means only that the referrer states the patient agreed to a confirmation email."""

    referrer = fields.Nested(ReferrerSchema, required=True)
    patient = fields.Nested(PatientSchema, required=True)
    reason = fields.Nested(ReasonSchema, required=True)
    payer = fields.Nested(PayerSchema, load_default=None, allow_none=True)
    urgency = fields.String(
        load_default="routine",
        validate=validate.OneOf(("routine", "urgent")),
        metadata={"description": "Emergencies are for the phone: 911, or 988 for a crisis of the mind."},
    )
    service = fields.String(load_default="consult", validate=validate.OneOf(("consult", "treat")))
    attachments = fields.List(
        OptionalString(single_line(200)), load_default=list, validate=validate.Length(max=20)
    )
    external_id = OptionalString(single_line(100))
    sent_at = fields.AwareDateTime(load_default=None, allow_none=True, default_timezone=UTC)
    patient_informed = fields.Boolean(required=True, truthy={True}, falsy={False})
    agreed_to_email = fields.Boolean(load_default=False, truthy={True}, falsy={False})
    attestation = fields.String(
        load_default=None, allow_none=True, metadata={"example": "referral-attestation/1"}
    )

    @validates_schema
    def _attested(self, data: dict[str, Any], **_options: Any) -> None:
        if data["agreed_to_email"]:
            language = data["patient"]["language"]
            known_wording(
                data["attestation"], key="referral-attestation", language=language, field="attestation"
            )
            if data["patient"]["email"] is None:
                raise ValidationError({"patient": {"email": ["An email address is required."]}})

    @post_load
    def _dated(self, data: dict[str, Any], **_options: Any) -> dict[str, Any]:
        sent: datetime | None = data["sent_at"]
        now = clock.now()
        data["sent_at"] = min(sent, now) if sent else now
        return data


class ReceiptSchema(Schema):
    """The result of an intake."""

    reference = fields.String(metadata={"example": "R-7K3F9Q"})
    left_out = fields.List(
        fields.String(),
        metadata={
            "example": ["state"],
            "description": "Optional fields that could not be read: staff see what they held. Absent if there are none.",
        },
    )


class StatusSchema(Schema):
    """Status of a lead, without names or health facts."""

    reference = fields.String()
    kind = fields.String()
    stage = fields.String()
    fhir_task_status = fields.String(allow_none=True)
    bser_status = fields.String(allow_none=True)
    received_at = fields.AwareDateTime()
    stage_at = fields.AwareDateTime()


class WordingSchema(Schema):
    """A consent text."""

    name = fields.String(metadata={"example": "contact-form/1"})
    language = fields.String()
    text = fields.String()
