"""Schemas of the intake API. Unknown fields are refused."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import orjson
from marshmallow import Schema, ValidationError, fields, post_load, validates_schema

from crm.consent import consent_texts
from crm.consent.consent_texts import Wording
from crm.contacts import rules as people
from crm.contacts.rules import InvalidValue, Problem
from crm.contacts.texts import sentence
from crm.core import clock
from crm.core.text import clean
from crm.intake.values import (
    LeftOut,
    Unread,
    clean_diagnosis,
    clean_preferred_contact,
    clean_service,
    clean_urgency,
    optional_value,
)
from crm.leads import rules
from crm.referrers.rules import is_npi_format
from crm.referrers.service import NPI_HINT


class CleanString(fields.String):
    """Text that a rule cleans or refuses. A number is read as its digits. No other field takes text from people."""

    def __init__(self, rule: Callable[[str], Any], **options: Any) -> None:
        super().__init__(**options)
        self.rule = rule

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        text = super()._deserialize(_digits(value), attr, data, **options)
        try:
            if self.says_nothing(text):
                return self._nothing()
            return self.rule(text)
        except InvalidValue as error:
            raise ValidationError(str(error)) from error

    def says_nothing(self, text: str) -> bool:
        """Return whether a text counts as not given."""
        return not clean(text)

    def _nothing(self) -> None:
        if self.required:
            raise InvalidValue("required")


class NormalizedString(CleanString):
    """A value that a rule normalizes or refuses; "N/A" and the like mean not given, too."""

    def says_nothing(self, text: str) -> bool:
        return people.means_nothing(text)


def _digits(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class OptionalString(NormalizedString):
    """Optional text that a rule normalizes; what it cannot read becomes a `LeftOut` with the default.

    `name` names it for staff where the field's own name does not do.
    """

    def __init__(
        self,
        rule: Callable[[str], Any],
        *,
        load_default: str | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        if not options.get("required"):
            options |= {"load_default": load_default, "allow_none": True}
        super().__init__(rule, **options)
        self.default, self.unread_name = load_default, name

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        name = self.unread_name or attr or "value"
        if (text := _digits(value)) is None or not isinstance(text, str):
            text = orjson.dumps(value).decode()
        left_out: list[Unread] = []
        found = optional_value(name, text, self.rule, left_out)
        return LeftOut(self.default, left_out[0]) if left_out else found or self.default

    def deserialize(self, value: Any, *args: Any, **options: Any) -> Any:
        """Read null as not given."""
        if value is None and not self.required:
            return self.default
        return super().deserialize(value, *args, **options)


class SomeStrings(fields.List[str]):
    """A list of optional texts. What is beyond `most` is left out, too."""

    def __init__(self, inner: OptionalString, *, most: int, **options: Any) -> None:
        super().__init__(inner, load_default=list, **options)
        self.most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> list[Any]:
        found = super()._deserialize(value, attr, data, **options)
        return [
            one if place < self.most or one is None or isinstance(one, LeftOut) else self._beyond(one, attr)
            for place, one in enumerate(found)
        ]

    def _beyond(self, text: str, attr: str | None) -> LeftOut:
        problem = Problem("too_many", {"limit": self.most})
        return LeftOut(None, Unread(field=attr or "value", text=text, problem=problem))


def take_left_out(data: Any) -> list[Unread]:
    """Replace what was left out by its default, in place and at any depth; return what was left out."""
    unread = []
    pairs = list(data.items() if isinstance(data, dict) else enumerate(data))
    for place, value in pairs:
        if isinstance(value, LeftOut):
            unread.append(value.unread)
            data[place] = str(value) or None
        elif isinstance(value, dict | list):
            unread += take_left_out(value)
    if isinstance(data, list):
        data[:] = [value for value in data if value is not None]
    return unread


def single_line(limit: int) -> Callable[[str], str]:
    """Return a rule for one line of text of at most `limit` characters."""
    return lambda text: people.clean_text(text, limit=limit, lines=False)


def text_of(limit: int) -> Callable[[str], str]:
    """Return a rule for text of several lines and at most `limit` characters."""
    return lambda text: people.clean_text(text, limit=limit)


def _heard_from(text: str) -> str:
    word = clean(text, lines=False).lower()
    if word not in rules.HEARD_FROM:
        raise InvalidValue("choice")
    return word


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(clean(text, lines=False))
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidValue("moment") from error


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
    """A contact request. It names an email address or a phone number.

    `wording` names the text beside the checkbox that the person ticked.
    """

    email = OptionalString(people.clean_email, metadata={"example": "ana.ruiz@example.com"})
    heard_from = OptionalString(_heard_from, metadata={"enum": list(rules.HEARD_FROM)})
    message = NormalizedString(text_of(rules.MESSAGE_LIMIT), load_default=None, allow_none=True)
    educational_email = fields.Boolean(load_default=False, truthy={True}, falsy={False})
    wording = fields.String(load_default=None, allow_none=True, metadata={"example": "contact-form/1"})
    first_touch = fields.Nested(FirstTouchSchema, load_default=None, allow_none=True)

    @validates_schema(skip_on_field_errors=False)
    def _reachable(self, data: dict[str, Any], **_options: Any) -> None:
        """Require one way to reach the person; the other one may be unreadable."""
        if any(name not in data or _is_given(data[name]) for name in ("email", "phone")):
            return
        problems = {name: _problem(data[name]) for name in ("email", "phone")}
        told = {name: [sentence(problem)] for name, problem in problems.items() if problem}
        raise ValidationError(told or {"email": [REACH_HINT]})

    @validates_schema
    def _box(self, data: dict[str, Any], **_options: Any) -> None:
        if data["educational_email"]:
            known_wording(data["wording"], key="contact-form", language=data["language"], field="wording")


REACH_HINT = "Enter an email address or a phone number."


def _is_given(value: str | None) -> bool:
    return bool(value) and not isinstance(value, LeftOut)


def _problem(value: str | None) -> Problem | None:
    return value.unread.problem if isinstance(value, LeftOut) else None


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
    phone = OptionalString(people.clean_phone, name="referrer_phone", required=True)
    fax = OptionalString(people.clean_phone, name="referrer_fax")
    email = OptionalString(people.clean_email, name="referrer_email")
    contact_person = OptionalString(single_line(120))


class GuardianSchema(Schema):
    """The guardian, whom a minor needs."""

    name = OptionalString(single_line(120), name="guardian_name", load_default="")
    relation = OptionalString(single_line(60), name="guardian_relation", load_default="")
    phone = OptionalString(people.clean_phone, name="guardian_phone")


class PatientSchema(PersonSchema):
    """The patient. A phone number is required, because staff call them."""

    phone = OptionalString(people.clean_phone, required=True, metadata={"example": "+12135550142"})
    email = OptionalString(people.clean_email)
    birth_date = NormalizedString(
        _birth_date, required=True, metadata={"example": "1970-05-17", "format": "date"}
    )
    preferred_contact = OptionalString(
        clean_preferred_contact, load_default="phone", metadata={"enum": ["phone", "email"]}
    )
    guardian = fields.Nested(GuardianSchema, load_default=None, allow_none=True)

    @validates_schema(skip_on_field_errors=False)
    def _reachable(self, data: dict[str, Any], **_options: Any) -> None:
        """Require one way to reach the patient: with an email address, a phone number may be unreadable."""
        phone = data.get("phone", "")
        if isinstance(phone, LeftOut) and not data.get("email"):
            raise ValidationError({"phone": [sentence(phone.unread.problem)]})

    @validates_schema
    def _age(self, data: dict[str, Any], **_options: Any) -> None:
        guardian = data["guardian"] or {"name": ""}
        if _years(data["birth_date"], clock.today()) < 18 and not guardian["name"]:
            raise ValidationError("A patient under 18 needs a guardian.", "guardian")


def _years(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


class ReasonSchema(Schema):
    """The reason. Stored encrypted; codes are ICD-10-CM."""

    text = NormalizedString(text_of(2000), required=True)
    diagnoses = SomeStrings(
        OptionalString(clean_diagnosis, name="diagnoses"), most=12, metadata={"example": ["G90.511"]}
    )


class PayerSchema(Schema):
    """The payer. Stored encrypted."""

    name = OptionalString(single_line(120), name="payer", load_default="")
    member_id = OptionalString(single_line(60))


class ReferralSchema(Schema):
    """A referral. `agreed_to_email` means only that the referrer states the patient agreed to a confirmation email."""

    referrer = fields.Nested(ReferrerSchema, required=True)
    patient = fields.Nested(PatientSchema, required=True)
    reason = fields.Nested(ReasonSchema, required=True)
    payer = fields.Nested(PayerSchema, load_default=None, allow_none=True)
    urgency = OptionalString(
        clean_urgency,
        load_default="routine",
        metadata={
            "enum": ["routine", "urgent"],
            "description": "Emergencies are for the phone: 911, or 988 for a crisis of the mind.",
        },
    )
    service = OptionalString(clean_service, load_default="consult", metadata={"enum": ["consult", "treat"]})
    attachments = SomeStrings(OptionalString(single_line(200), name="attachments"), most=20)
    external_id = OptionalString(single_line(100))
    sent_at = OptionalString(_moment, metadata={"format": "date-time", "example": "2026-03-02T17:30:00Z"})
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
            if not data["patient"]["email"]:
                raise ValidationError({"patient": {"email": ["An email address is required."]}})

    @post_load
    def _dated(self, data: dict[str, Any], **_options: Any) -> dict[str, Any]:
        sent, now = data["sent_at"], clock.now()
        data["sent_at"] = min(sent, now) if isinstance(sent, datetime) else sent
        return data


class ReceiptSchema(Schema):
    """The result of an intake."""

    reference = fields.String(metadata={"example": "R-7K3F9Q"})
    left_out = fields.List(
        fields.String(),
        metadata={
            "example": ["State"],
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
