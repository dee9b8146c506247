"""Who a batch goes to, and what fills its placeholders for each of them. A thousand times per call, so written for speed.

What many people share (a first name, the day of a yes) is escaped once and kept; what is different for everyone is two
signed links, which are made of characters that mean nothing anywhere.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from crm.content import service as content
from crm.core import tokens
from crm.core.config import Clinic
from crm.mailer import Recipient
from crm.messages.engine import envelope
from crm.messages.rules import Stream

KEPT = 10_000  # first names and days a process remembers per email
_NAME = frozenset({"first_name", "first_name_space", "first_name_comma"})


class Personalizer:
    """Fills the placeholders of one rendering."""

    def __init__(self, placeholders: Sequence[Any], language: str) -> None:
        self.language = language
        self.of_name = [one for one in placeholders if one.field in _NAME]
        self.of_day = [one for one in placeholders if one.field == "signup_date"]
        self.stop = tuple(one.key for one in placeholders if one.field == "unsubscribe_url")
        self.choose = tuple(one.key for one in placeholders if one.field == "preferences_url")
        known = {*self.of_name, *self.of_day}
        self.rest = [
            one for one in placeholders if one not in known and one.key not in self.stop + self.choose
        ]
        self.names: dict[str, dict[str, str]] = {}
        self.days: dict[date | None, dict[str, str]] = {}

    def fill(self, first_name: str, day: date | None, stop: str, choose: str) -> dict[str, str]:
        """Return placeholder -> value for one person."""
        names, days = self.names.get(first_name), self.days.get(day)
        filled = {**(names or self._name(first_name)), **(days or self._day(day))}
        for key in self.stop:
            filled[key] = stop
        for key in self.choose:
            filled[key] = choose
        return filled

    def _name(self, first_name: str) -> dict[str, str]:
        if len(self.names) >= KEPT:
            self.names.clear()
        self.names[first_name] = content.substitutions({"first_name": first_name}, wanted=self.of_name)
        return self.names[first_name]

    def _day(self, day: date | None) -> dict[str, str]:
        if len(self.days) >= KEPT:
            self.days.clear()
        words = envelope.day(day.toordinal(), self.language) if day else ""
        self.days[day] = content.substitutions({"signup_date": words}, wanted=self.of_day)
        return self.days[day]


@lru_cache(maxsize=64)
def _filler(placeholders: tuple[Any, ...], language: str) -> Personalizer:
    return Personalizer(placeholders, language)


def recipients(
    rows: Sequence[Sequence[Any]],
    *,
    rendered: content.Rendered,
    stream: Stream,
    clinic: Clinic,
    public_url: str,
    batch_id: int,
) -> list[Recipient]:
    """Return one recipient per row of (message, contact, email, first name, day of the yes, params)."""
    filler = _filler(rendered.placeholders, rendered.language)
    serial = batch_id & 0xFFFFFFFF
    people = [row[1] for row in rows]
    stops = tokens.sign_many(tokens.Purpose.UNSUBSCRIBE, people, serial=serial)
    choices = tokens.sign_many(tokens.Purpose.PREFERENCES, people, serial=serial)
    stop_url, choose_url = f"{public_url}/u/", f"{public_url}/p/"
    more = _more(filler, clinic=clinic, public_url=public_url)
    fill, one_click = filler.fill, not stream.transactional
    found = []
    for (message_id, _, email, first_name, day, params), stop, choice in zip(
        rows, stops, choices, strict=True
    ):
        one_stop = stop_url + stop
        filled = fill(first_name, day, one_stop, choose_url + choice)
        if params or filler.rest:
            filled |= more(params or {})
        found.append(Recipient(message_id, email, filled, one_stop if one_click else None))
    return found


def _more(
    filler: Personalizer, *, clinic: Clinic, public_url: str
) -> Callable[[Mapping[str, Any]], dict[str, str]]:
    """What only transactional mail has: links to rows, moments and facts it was queued with."""

    def more(params: Mapping[str, Any]) -> dict[str, str]:
        fields = envelope.from_params(params, public_url=public_url, language=filler.language, clinic=clinic)
        return content.substitutions(fields, wanted=filler.rest)

    return more
