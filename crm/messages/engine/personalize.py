"""Personalization: the recipients of a batch and the values of their placeholders. A thousand per call, so written for speed.

Values that many people share (a first name, the day of an opt-in) are escaped once and cached; what differs for each
person is two signed links, whose characters need no escaping.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from crm.content import service as content
from crm.content.render.merge_fields import Placeholder
from crm.core import tokens
from crm.core.config import Clinic
from crm.mailer import Recipient
from crm.messages.engine import envelope
from crm.messages.models import Addressee
from crm.messages.rules import Stream

CACHED = 10_000  # first names and days that a process remembers per email
_GROUPS = {
    "first_name": "name",
    "first_name_space": "name",
    "first_name_comma": "name",
    "signup_date": "day",
    "unsubscribe_url": "unsubscribe",
    "preferences_url": "preferences",
    "call_url": "answer",
    "not_now_url": "answer",
    "guide_url": "answer",
}


class Personalizer:
    """Fills the placeholders of one rendering."""

    def __init__(self, placeholders: Iterable[Placeholder], language: str) -> None:
        groups: dict[str, list[Placeholder]] = defaultdict(list)
        for one in placeholders:
            groups[_GROUPS.get(one.base, "other")].append(one)
        self.language = language
        self.of_name, self.of_day, self.others = groups["name"], groups["day"], groups["other"]
        self.unsubscribe_keys = tuple(one.key for one in groups["unsubscribe"])
        self.preferences_keys = tuple(one.key for one in groups["preferences"])
        self.answer_keys = tuple(
            (one.key, f"?answer={one.field.removesuffix('_url')}") for one in groups["answer"]
        )
        self.names: dict[str, dict[str, str]] = {}
        self.days: dict[date | None, dict[str, str]] = {}

    def fill(self, first_name: str, day: date | None, unsubscribe: str, preferences: str) -> dict[str, str]:
        """Return placeholder -> value for one person."""
        names, days = self.names.get(first_name), self.days.get(day)
        filled = {**(names or self._name(first_name)), **(days or self._day(day))}
        for key in self.unsubscribe_keys:
            filled[key] = unsubscribe
        for key in self.preferences_keys:
            filled[key] = preferences
        return filled

    def _name(self, first_name: str) -> dict[str, str]:
        if len(self.names) >= CACHED:
            self.names.clear()
        self.names[first_name] = content.substitutions({"first_name": first_name}, wanted=self.of_name)
        return self.names[first_name]

    def _day(self, day: date | None) -> dict[str, str]:
        if len(self.days) >= CACHED:
            self.days.clear()
        words = envelope.day(day.toordinal(), self.language) if day else ""
        self.days[day] = content.substitutions({"signup_date": words}, wanted=self.of_day)
        return self.days[day]


@lru_cache(maxsize=64)
def _personalizer(placeholders: tuple[Placeholder, ...], language: str) -> Personalizer:
    return Personalizer(placeholders, language)


def recipients(
    rows: Sequence[Addressee],
    *,
    rendered: content.Rendered,
    stream: Stream,
    clinic: Clinic,
    public_url: str,
    batch_id: int,
) -> list[Recipient]:
    """Return one recipient per addressee."""
    personalizer = _personalizer(rendered.placeholders, rendered.language)
    serial = batch_id & 0xFFFFFFFF
    people = [row.contact_id for row in rows]
    stops = tokens.sign_many(tokens.Purpose.UNSUBSCRIBE, people, serial=serial)
    choices = tokens.sign_many(tokens.Purpose.PREFERENCES, people, serial=serial)
    stop_url, choose_url = f"{public_url}/u/", f"{public_url}/p/"
    more = _more(personalizer, clinic=clinic, public_url=public_url)
    fill, one_click = personalizer.fill, not stream.transactional
    answers = _answers(personalizer, rows, public_url=public_url)
    found = []
    for (message_id, _, email, first_name, _, day, params, _), stop, choice in zip(
        rows, stops, choices, strict=True
    ):
        one_stop = stop_url + stop
        filled = fill(first_name, day, one_stop, choose_url + choice)
        if params or personalizer.others:
            filled |= more(params or {})
        if answers:
            filled |= answers[message_id]
        found.append(Recipient(message_id, email, filled, one_stop if one_click else None))
    return found


def _answers(
    personalizer: Personalizer, rows: Sequence[Addressee], *, public_url: str
) -> Mapping[int, Mapping[str, str]]:
    """Return message -> the links of its answer buttons; nothing for content without them."""
    if not personalizer.answer_keys:
        return {}
    ids = [row.message_id for row in rows]
    signed = zip(ids, tokens.sign_many(tokens.Purpose.ANSWER, ids), strict=True)
    return {
        message_id: {key: f"{public_url}/a/{token}{end}" for key, end in personalizer.answer_keys}
        for message_id, token in signed
    }


def _more(
    personalizer: Personalizer, *, clinic: Clinic, public_url: str
) -> Callable[[Mapping[str, Any]], dict[str, str]]:
    """Return the function that fills what only transactional mail has: links to rows, times and facts."""

    def more(params: Mapping[str, Any]) -> dict[str, str]:
        fields = envelope.from_params(
            params, public_url=public_url, language=personalizer.language, clinic=clinic
        )
        return content.substitutions(fields, wanted=personalizer.others)

    return more
