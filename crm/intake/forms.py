"""Contact form fields. The rules are those of the API; the texts are in the page's language."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    EmailField,
    RadioField,
    SelectField,
    StringField,
    TelField,
    TextAreaField,
)
from wtforms.fields.choices import SelectChoice
from wtforms.validators import StopValidation

from crm.consent import consent_texts
from crm.consent.consent_texts import Wording
from crm.contacts import rules as people
from crm.contacts.rules import InvalidValue, Person, Problem, zone_for
from crm.contacts.texts import sentence
from crm.core.us_states import STATES
from crm.intake.service import ContactRequest
from crm.intake.texts import HEARD_FROM, LANGUAGE_NAMES, WORDS
from crm.intake.values import Unread, optional_value
from crm.leads import rules


class Normalized:
    """A validator that keeps the normalized value in `form.clean`, and the typed text in the field."""

    def __init__(self, rule: Callable[[str], str], *, required: bool = False, left_out: bool = False) -> None:
        self.rule, self.left_out = rule, left_out
        self.field_flags = {"required": True} if required else {}
        self.required = required

    def __call__(self, form: "ContactForm", field: Any) -> None:
        typed = field.data or ""
        form.clean[field.name] = None
        if self.left_out:
            form.clean[field.name] = optional_value(field.name, typed, self.rule, form.left_out)
            return
        if people.means_nothing(typed) and not self.required:
            return
        try:
            form.clean[field.name] = self.rule(typed)
        except InvalidValue as error:
            raise StopValidation(form.message_for(error.problem, field.name)) from error


def _message(text: str) -> str:
    return people.clean_text(text, limit=rules.MESSAGE_LIMIT)


def _heard_from(text: str) -> str:
    if text not in rules.HEARD_FROM:
        raise InvalidValue("choice")
    return text


def _choices(pairs: Sequence[tuple[str, str]]) -> list[SelectChoice]:
    return [SelectChoice(value, label) for value, label in pairs]


class ContactForm(FlaskForm):  # type: ignore[misc]
    """The contact form. `words` are the texts in the page's language."""

    first_name = StringField(validators=[Normalized(people.clean_name)])
    last_name = StringField(validators=[Normalized(people.clean_name)])
    email = EmailField(validators=[Normalized(people.clean_email)])
    phone = TelField(validators=[Normalized(people.clean_phone, left_out=True)])
    language = RadioField(choices=_choices(LANGUAGE_NAMES), validate_choice=False)
    state = SelectField(validate_choice=False, validators=[Normalized(people.clean_state, left_out=True)])
    heard_from = SelectField(validate_choice=False, validators=[Normalized(_heard_from, left_out=True)])
    message = TextAreaField(validators=[Normalized(_message)])
    educational_email = BooleanField()

    def __init__(self, *, page_language: str, **options: Any) -> None:
        super().__init__(**options)
        self.words: Mapping[str, str] = WORDS[page_language]
        self.page_language = page_language
        self.clean: dict[str, str | None] = {}
        self.left_out: list[Unread] = []
        nothing = ("", self.words["choose"])
        self.heard_from.choices = _choices((nothing, *HEARD_FROM[page_language].items()))
        self.state.choices = _choices((nothing, *STATES))

    def message_for(self, problem: Problem, field: str) -> str:
        """Return the error message of a field: the form's own where it has one, else that of every way in."""
        own = self.words.get(f"wrong_{problem.code}_{field}")
        return own or sentence(problem)

    def validate_last_name(self, _field: Any) -> None:
        """Require one of the names: not everybody has two."""
        if not (self.clean["first_name"] or self.clean["last_name"] or self.first_name.errors):
            self.first_name.errors = [self.words["wrong_required_first_name"]]
            raise StopValidation(self.words["wrong_required_last_name"])

    def validate(self, extra_validators: Any = None) -> bool:
        """Validate every field, then ask for one way to reach the person, and an address where they want emails."""
        valid = bool(super().validate(extra_validators))
        if self.email.errors or self.clean["email"]:
            return valid
        unread = [one.problem for one in self.left_out if one.field == "phone"]
        if self.educational_email.data:
            self.email.errors = [self.words["wrong_ticked_email"]]
        elif unread:
            self.phone.errors = [self.message_for(unread[0], "phone")]
        elif not self.clean["phone"]:
            self.email.errors = [self.words["wrong_required_email"]]
        else:
            return valid
        return False

    def validate_language(self, field: Any) -> None:
        if field.data not in people.LANGUAGES:
            field.data = self.page_language

    def problems(self) -> dict[str, list[str]]:
        """Return field name -> errors, in page order; "_" has the errors of no field."""
        found = {
            name: [str(text) for text in texts] for name, texts in self.errors.items() if name != "csrf_token"
        }
        if "csrf_token" in self.errors:
            found["_"] = [self.words["csrf"]]
        return found

    def request(
        self, *, clinic_zone: str, touch: Mapping[str, str | None], shown: str | None, trapped: bool = False
    ) -> ContactRequest:
        """Return the contact request of a valid form. `shown` names the wording beside the checkbox.

        `trapped`: whether the hidden field was filled in.
        """
        state = self.clean["state"]
        return ContactRequest(
            person=Person(
                first_name=self.clean["first_name"] or "",
                last_name=self.clean["last_name"] or "",
                email=self.clean["email"],
                phone=self.clean["phone"],
                language=self.language.data,
                time_zone=zone_for(given=None, state=state, clinic=clinic_zone),
                state=state,
            ),
            source="form",
            message=self.clean["message"],
            heard_from=self.clean["heard_from"],
            first_touch=rules.first_touch(touch),
            wording=self._ticked(shown) if self.educational_email.data else None,
            left_out=self.left_out,
            is_spam=trapped,
        )

    def _ticked(self, shown: str | None) -> Wording:
        if shown and shown.startswith("contact-form/"):
            try:
                return consent_texts.find(shown, self.page_language)
            except KeyError:
                pass
        return consent_texts.current("contact-form", self.page_language)
