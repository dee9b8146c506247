"""Formatting: times in the reader's zone, numbers with commas, phone numbers. Pure."""

import math
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

import phonenumbers
from babel import Locale
from babel.dates import format_datetime, format_timedelta
from babel.numbers import format_decimal

_STYLES = {
    "short": "MMM d, h:mm a",
    "short_year": "MMM d, y, h:mm a",
    "day": "MMM d, y",
    "full": "EEEE, MMMM d, y, h:mm a",
    "time": "h:mm a",
}
_SPANISH = {
    "short": "d MMM, HH:mm",
    "short_year": "d MMM y, HH:mm",
    "day": "d MMM y",
    "full": "EEEE d 'de' MMMM 'de' y, HH:mm",
    "time": "HH:mm",
}


def local(at: datetime, *, zone: tzinfo, now: datetime, style: str = "short", language: str = "en") -> str:
    """Return an aware time as text in `zone`. Styles: short, day, full, time, ago. Short adds the year when it is another."""
    if style == "ago":
        return format_timedelta(at - now, add_direction=True, locale=language)
    shown = at.astimezone(zone)
    if style == "short" and shown.year != now.astimezone(zone).year:
        style = "short_year"
    patterns = _SPANISH if language == "es" else _STYLES
    return format_datetime(shown, patterns[style], locale=language).replace("\u202f", " ")


def spoken(at: datetime, *, zone: tzinfo, theirs: str | None = None, language: str = "en") -> str:
    """Return the full time in the reader's zone and, when it differs, the person's: 'Tuesday 9:00 AM in Denver'."""
    said = f"{local(at, zone=zone, now=at, style='full', language=language)} ({at.astimezone(zone):%Z})"
    if not theirs:
        return said
    there = at.astimezone(ZoneInfo(theirs))
    if there.utcoffset() == at.astimezone(zone).utcoffset():
        return said
    pattern, word = ("EEEE HH:mm", "en") if language == "es" else ("EEEE h:mm a", "in")
    clock = format_datetime(there, pattern, locale=language).replace("\u202f", " ")
    return f"{said}; {clock} {word} {city(theirs)}"


def city(zone: str) -> str:
    """Return the city of an IANA zone: New York for 'America/New_York'."""
    return zone.rsplit("/", 1)[-1].replace("_", " ")


def thousands(value: object, *, language: str = "en") -> str:
    """Return a number with separators, a dash for None, anything else unchanged."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return format_decimal(value, locale=Locale.parse("es_US" if language == "es" else "en_US"))


def phone(number: str | None) -> str:
    """Return a stored number (+15550100180) as people of its country write it; other text unchanged."""
    if not number:
        return ""
    try:
        parsed = phonenumbers.parse(number, "US")
    except phonenumbers.NumberParseException:
        return number
    national = parsed.country_code == 1
    style = (
        phonenumbers.PhoneNumberFormat.NATIONAL if national else phonenumbers.PhoneNumberFormat.INTERNATIONAL
    )
    return phonenumbers.format_number(parsed, style)


def nice_ceiling(value: float) -> float:
    """Return the next round number at or above `value`, for the top of a chart: 1, 2, 4, 5 or 10 times a power of ten."""
    if value <= 1:
        return 1
    power = 10.0 ** math.floor(math.log10(value))
    for step in (1, 2, 4, 5, 10):
        if value <= step * power:
            break
    top = step * power
    return int(top) if top == int(top) else top
