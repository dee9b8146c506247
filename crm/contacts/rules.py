"""Validation of names, email addresses, phone numbers, states and time zones; matching of two person records.

Pure. Every check returns the normalized value or raises `InvalidValue` with a code; `REASONS` has the message.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from crm.core import time_zones

LANGUAGES = ("en", "es")
NAME_LIMIT = 60  # characters, accents composed
EMAIL_LIMIT = 254  # RFC 5321 4.5.3.1.3, less the angle brackets
LOCAL_PART_LIMIT = 64  # RFC 5321 4.5.3.1.1

REASONS = {
    "required": "This is required.",
    "name_long": "Use at most 60 characters.",
    "name_letters": "Use letters, spaces, hyphens and apostrophes; a name has at least one letter.",
    "name_link": "A name cannot contain a web or email address.",
    "email": "Enter an email address such as name@example.com.",
    "phone": "Enter a US phone number with area code, such as 213 555 0142; start other countries' numbers with +.",
    "language": "Choose en (English) or es (Spanish).",
    "state": "Use the two letters of a US state or territory, such as CA.",
    "time_zone": "Use a time zone name such as America/Los_Angeles.",
    "birth_date": "Enter a date of birth between 1900 and today.",
    "text_long": "This is too long.",
    "text_control": "This contains characters that cannot be shown. Type it again without them.",
}


class InvalidValue(ValueError):
    """A value that is not accepted. `code` is a key of `REASONS`; the error text is its English message."""

    def __init__(self, code: str) -> None:
        super().__init__(REASONS[code])
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Person:
    """Details of a person as they were submitted, normalized by the functions below."""

    first_name: str
    last_name: str
    email: str | None = None
    phone: str | None = None  # E.164
    birth_date: date | None = None
    language: str = "en"
    time_zone: str
    state: str | None = None


_NAME_PUNCTUATION = set(" '’ʼ-‐‑–.,·()ªº")
_JOINERS = {"\u200c", "\u200d"}  # Persian and Indic scripts spell with these
_LINK = re.compile(
    r"://|//|www\.|@|\.(?:com|net|org|info|biz|io|ly|ru|cn|top|xyz|co|me|site|online|shop|club|link|app|dev|tk)\b",
    re.IGNORECASE,
)


def clean_name(text: str) -> str:
    """Return a first or last name that is safe in records, subjects and salutations; keep accents.

    Drops commas ("Smith, Jr."), because email headers read them as separators.
    """
    text = unicodedata.normalize("NFC", text).strip(" ")
    if not text:
        raise InvalidValue("required")
    if len(text) > NAME_LIMIT:
        raise InvalidValue("name_long")
    if _LINK.search(text):
        raise InvalidValue("name_link")
    if not all(map(_fits_in_name, text)) or not any(map(str.isalpha, text)) or _piled_marks(text):
        raise InvalidValue("name_letters")
    return " ".join(text.replace(",", " ").split())


def _fits_in_name(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind[0] in "LM" or kind == "Nd" or character in _NAME_PUNCTUATION or character in _JOINERS


def _piled_marks(text: str, *, most: int = 3) -> bool:
    """Return whether one letter carries so many accents that they would cover nearby text (Zalgo text)."""
    run = 0
    for character in text:
        run = run + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if run > most:
            return True
    return False


def clean_email(text: str) -> str:
    """Return an address in lower case with its domain normalized. Checks syntax only; queries no DNS."""
    text = text.strip(" ")
    if not text:
        raise InvalidValue("required")
    if len(text) > EMAIL_LIMIT or any(unicodedata.category(character)[0] == "C" for character in text):
        raise InvalidValue("email")
    try:
        # test_environment accepts .test: demos need addresses that reach nobody
        found = validate_email(text, check_deliverability=False, allow_smtputf8=False, test_environment=True)
    except EmailNotValidError as error:
        raise InvalidValue("email") from error
    if len(found.local_part) > LOCAL_PART_LIMIT:
        raise InvalidValue("email")
    return (found.ascii_email or found.normalized).lower()


def clean_phone(text: str) -> str:
    """Return a phone number as E.164 (`+12135550142`); a number without a country code is a US number."""
    text = unicodedata.normalize("NFKC", text).strip(" ")
    if not text:
        raise InvalidValue("required")
    if len(text) > 40 or any(unicodedata.category(character) == "Cc" for character in text):
        raise InvalidValue("phone")
    try:
        number = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException as error:
        raise InvalidValue("phone") from error
    # a number without an area code is only IS_POSSIBLE_LOCAL_ONLY
    possible = phonenumbers.is_possible_number_with_reason(number)
    if number.extension or possible != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise InvalidValue("phone")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def clean_text(text: str, *, limit: int, lines: bool = True) -> str:
    """Return free text with normalized line breaks; refuse control and text-direction characters."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if len(text) > limit:
        raise InvalidValue("text_long")
    allowed = {"\n", "\t"} if lines else set()
    if any(_is_unsafe(character) and character not in allowed for character in text):
        raise InvalidValue("text_control")
    return text


def _is_unsafe(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cs", "Co", "Cn") or (kind == "Cf" and character not in _JOINERS)


def clean_birth_date(given: date, *, today: date) -> date:
    """Return a date of birth between 1900 and today."""
    if not date(1900, 1, 1) <= given <= today:
        raise InvalidValue("birth_date")
    return given


STATE_ZONES: dict[str, str] = {
    **dict.fromkeys(
        ("CT", "DC", "DE", "FL", "GA", "MA", "MD", "ME", "NC", "NH", "NJ", "NY", "OH", "PA", "RI", "SC", "VA",
         "VT", "WV"),
        "America/New_York",
    ),
    **dict.fromkeys(
        ("AL", "AR", "IA", "IL", "KS", "LA", "MN", "MO", "MS", "ND", "NE", "OK", "SD", "TN", "TX", "WI"),
        "America/Chicago",
    ),
    **dict.fromkeys(("CO", "MT", "NM", "UT", "WY"), "America/Denver"),
    **dict.fromkeys(("CA", "NV", "OR", "WA"), "America/Los_Angeles"),
    "AK": "America/Anchorage",
    "AZ": "America/Phoenix",
    "HI": "Pacific/Honolulu",
    "ID": "America/Boise",
    "IN": "America/Indiana/Indianapolis",
    "KY": "America/Kentucky/Louisville",
    "MI": "America/Detroit",
    "AS": "Pacific/Pago_Pago",
    "GU": "Pacific/Guam",
    "MP": "Pacific/Saipan",
    "PR": "America/Puerto_Rico",
    "VI": "America/St_Thomas",
}  # fmt: skip
"""State or territory -> the time zone where most of its people live (IANA tz database, zone1970.tab). A person can
choose another one."""


def clean_state(text: str) -> str:
    """Return the two letters of a US state or territory."""
    state = text.strip().upper()
    if state not in STATE_ZONES:
        raise InvalidValue("state")
    return state


def clean_zone(text: str) -> str:
    """Return the name under which a time zone is stored."""
    zone = time_zones.canonical(text)
    if zone is None:
        raise InvalidValue("time_zone")
    return zone


def zone_for(*, given: str | None, state: str | None, clinic: str) -> str:
    """Return the given time zone, else the one of the person's state, else the clinic's."""
    return given or (STATE_ZONES[state] if state else clinic)


def folded(text: str) -> str:
    """Return a name without case, accents and punctuation, for comparison."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c if c.isalnum() else " " for c in plain if not unicodedata.combining(c)).split())


class Match(StrEnum):
    """Whether two records are the same person."""

    SAME = "same"
    LOOK_ALIKE = "look_alike"  # perhaps the same: staff decide
    OTHER = "other"


def match_person(given: Person, known: Person, *, by_email: bool) -> Match:
    """Compare a submitted person with a known record, which was found by email address or else by phone or birth date.

    Families share an address, so a birth date weighs more than an address. Doubt never merges: a look-alike gets a
    record of its own and a note for staff.

    >>> a = Person(first_name="Ana", last_name="Ruiz", time_zone="UTC")
    >>> match_person(a, a, by_email=True)
    <Match.SAME: 'same'>
    """
    same_first_name = folded(given.first_name) == folded(known.first_name)
    same_name = same_first_name and folded(given.last_name) == folded(known.last_name)
    if _contradicts(given, known, by_email=by_email):
        return Match.LOOK_ALIKE if same_name else Match.OTHER
    if same_name:
        return Match.SAME
    return _match_other_name(given, known, same_first_name=same_first_name) if by_email else Match.OTHER


def _contradicts(given: Person, known: Person, *, by_email: bool) -> bool:
    """Return whether the birth dates differ or, where no birth date settles it, the email addresses."""
    if given.birth_date is not None and known.birth_date is not None:
        return given.birth_date != known.birth_date
    return not by_email and None not in (given.email, known.email) and given.email != known.email


def _match_other_name(given: Person, known: Person, *, same_first_name: bool) -> Match:
    """Compare two people with different names on one mailbox: equal birth dates, one birth date, or none."""
    births = [birth for birth in (given.birth_date, known.birth_date) if birth is not None]
    if len(births) == 2:
        return Match.SAME if same_first_name else Match.LOOK_ALIKE
    return Match.OTHER if births else Match.SAME
