"""Facts about the clinic: what may be set in the console, and what each may look like."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from crm.contacts.rules import InvalidValue, clean_email
from crm.core import business_hours, time_zones
from crm.core.errors import Invalid
from crm.core.us_states import STATES


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One field of the form. `kind`: text, email, emails, tel, zone, state, color."""

    label: str
    hint: str = ""
    kind: str = "text"
    section: str


FACTS: Mapping[str, Fact] = {
    "name": Fact(label="Name", section="Clinic"),
    "short_name": Fact(
        label="Sender’s name",
        hint="In the inbox of patients, so it may not speak of health or pain.",
        section="Email",
    ),
    "physician": Fact(label="Physician", hint="Named in emails, with title.", section="Clinic"),
    "phone": Fact(label="Phone", kind="tel", section="Clinic"),
    "address": Fact(
        label="Postal address", hint="At the end of every email (15 U.S.C. 7704(a)(5)).", section="Clinic"
    ),
    "state": Fact(label="State", kind="state", section="Clinic"),
    "time_zone": Fact(label="Time zone", kind="zone", section="Hours"),
    "hours": Fact(
        label="Opening hours",
        hint="Deadlines count in them. For example: Mon-Thu 08:00-17:00, Fri 08:00-12:00",
        section="Hours",
    ),
    "closed": Fact(
        label="Closed",
        hint="“holidays” for the main ones, and single days: holidays, 2026-12-24",
        section="Hours",
    ),
    "from_email": Fact(label="Email is sent from", kind="email", section="Email"),
    "care_email": Fact(label="Personal email is sent from", kind="email", section="Email"),
    "email": Fact(label="Replies go to", kind="email", section="Email"),
    "staff_alert_email": Fact(
        label="Alerts go to",
        hint="One address, or several separated by commas.",
        kind="emails",
        section="Email",
    ),
    "privacy_officer": Fact(
        label="Privacy officer", hint="Named in the legal notices (45 CFR 164.530(a)).", section="Notices"
    ),
    "accent": Fact(
        label="Color",
        hint="Of links and buttons, such as #0b6763. It must be dark enough to read.",
        section="Look",
    ),
}
LOGO_TYPES: Sequence[tuple[bytes, str]] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
)
MOST_LOGO = 200 * 1024
GROUNDS = ("#ffffff", "#e0f0ee")  # on which the accent is text; white is the text on it
ANY_ZONE = ZoneInfo("UTC")  # the form of opening hours does not depend on it
_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{6,24}")


def clean_facts(typed: Mapping[str, str]) -> dict[str, str]:
    """Return the facts that were typed, cleaned; empty ones are left out. Raises Invalid with every one that is wrong."""
    found: dict[str, str] = {}
    wrong: dict[str, list[str]] = {}
    for name in FACTS:
        value = " ".join(typed.get(name, "").split())
        if not value:
            continue
        try:
            found[name] = _clean(name, value)
        except (InvalidValue, ValueError) as error:
            wrong[name] = [str(error)]
        except Invalid as error:
            wrong[name] = [text for texts in error.fields.values() for text in texts]
    if wrong:
        raise Invalid(wrong)
    return found


def _clean(name: str, value: str) -> str:
    if len(value) > 200:
        raise ValueError("Enter at most 200 characters.")
    check = _CHECKS.get(name) or _CHECKS.get(FACTS[name].kind)
    return check(value) if check else value


def _email(value: str) -> str:
    try:
        return clean_email(value)
    except InvalidValue as error:
        raise ValueError("Enter an email address, such as name@clinic.example.") from error


def _emails(value: str) -> str:
    return ", ".join(_email(one) for one in value.split(",") if one.strip())


def _phone(value: str) -> str:
    if not _PHONE.fullmatch(value):
        raise ValueError("Enter a phone number, such as +1 555 010 0199.")
    return value


def _zone(value: str) -> str:
    zone = time_zones.canonical(value)
    if zone is None:
        raise ValueError("Choose a time zone.")
    return zone


def _state(value: str) -> str:
    if value not in dict(STATES):
        raise ValueError("Choose a state.")
    return value


def _hours(value: str) -> str:
    business_hours.calendar(zone=ANY_ZONE, hours=value, closed="")
    return value


def _closed(value: str) -> str:
    business_hours.calendar(zone=ANY_ZONE, hours="mon 08:00-17:00", closed=value)
    return value


def _accent(value: str) -> str:
    color = value.lower()
    if not re.fullmatch(r"#[0-9a-f]{6}", color):
        raise ValueError("Enter a color such as #0b6763.")
    if min(contrast(color, ground) for ground in GROUNDS) < 4.5:
        raise ValueError("This color is too light to read as text (WCAG 2.2, 1.4.3). Choose a darker one.")
    return color


_CHECKS: Mapping[str, Callable[[str], str]] = {
    "email": _email,
    "emails": _emails,
    "tel": _phone,
    "zone": _zone,
    "state": _state,
    "hours": _hours,
    "closed": _closed,
    "accent": _accent,
}


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colors (WCAG 2.2, relative luminance)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    channels = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def darker(color: str) -> str:
    """Return a color for buttons under the pointer."""
    return "#" + "".join(f"{int(int(color[at : at + 2], 16) * 0.72):02x}" for at in (1, 3, 5))


def logo_type(content: bytes) -> str:
    """Return the media type of a logo by its first bytes. Raises Invalid for another file, or one that is too large."""
    if len(content) > MOST_LOGO:
        raise Invalid({"logo": ["Choose a file of at most 200 KB."]})
    for begin, media_type in LOGO_TYPES:
        if content.startswith(begin):
            return media_type
    raise Invalid({"logo": ["Choose a PNG or JPEG file."]})
