"""What a usable email address, phone number, name, state and time zone look like; who is the same person.

Pure. Every check returns the normalised value or raises `Unfit` with a code; `REASONS` has the words.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Literal
from zoneinfo import available_timezones

import phonenumbers
from email_validator import EmailNotValidError, validate_email

LANGUAGES = ("en", "es")
NAME_LIMIT = 60  # characters, accents composed
EMAIL_LIMIT = 254  # RFC 5321 4.5.3.1.3, less the angle brackets
LOCAL_PART_LIMIT = 64  # RFC 5321 4.5.3.1.1

REASONS = {
    "required": "This is needed.",
    "name_long": "Use at most 60 characters.",
    "name_letters": "Use letters, spaces, hyphens and apostrophes; a name has at least one letter.",
    "name_link": "A name cannot hold a web or email address.",
    "email": "Enter an email address such as name@example.com.",
    "phone": "Enter a US phone number with area code, such as 213 555 0142; start other countries' numbers with +.",
    "language": "Choose en (English) or es (Spanish).",
    "state": "Use the two letters of a US state or territory, such as CA.",
    "time_zone": "Use a time zone name such as America/Los_Angeles.",
    "birth_date": "Enter a date of birth between 1900 and today.",
    "text_long": "This is too long.",
    "text_control": "This holds characters that cannot be shown. Type it again without them.",
}


class Unfit(ValueError):
    """A value that cannot be taken. `code` is a key of `REASONS`; the text of the error is its English words."""

    def __init__(self, code: str) -> None:
        super().__init__(REASONS[code])
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Person:
    """What somebody told us about a person, normalised by the functions below."""

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
    """Return a first or last name fit for records, subjects and salutations; accents and long names are kept.

    Commas are dropped ("Smith, Jr."), because mail headers read them as separators.
    """
    text = unicodedata.normalize("NFC", text).strip(" ")
    if not text:
        raise Unfit("required")
    if len(text) > NAME_LIMIT:
        raise Unfit("name_long")
    if _LINK.search(text):
        raise Unfit("name_link")
    if not all(map(_fits_in_name, text)) or not any(map(str.isalpha, text)) or _piled_marks(text):
        raise Unfit("name_letters")
    return " ".join(text.replace(",", " ").split())


def _fits_in_name(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind[0] in "LM" or kind == "Nd" or character in _NAME_PUNCTUATION or character in _JOINERS


def _piled_marks(text: str, *, most: int = 3) -> bool:
    """Tell whether accents are heaped on one letter to smear over the page."""
    run = 0
    for character in text:
        run = run + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if run > most:
            return True
    return False


def clean_email(text: str) -> str:
    """Return an address in lower case, its domain normalised. Syntax only: nothing is looked up."""
    text = text.strip(" ")
    if not text:
        raise Unfit("required")
    if len(text) > EMAIL_LIMIT or any(unicodedata.category(character)[0] == "C" for character in text):
        raise Unfit("email")
    try:
        # test_environment lets .test through: trying the system out needs addresses that lead nowhere
        found = validate_email(text, check_deliverability=False, allow_smtputf8=False, test_environment=True)
    except EmailNotValidError as error:
        raise Unfit("email") from error
    if len(found.local_part) > LOCAL_PART_LIMIT:
        raise Unfit("email")
    return (found.ascii_email or found.normalized).lower()


def clean_phone(text: str) -> str:
    """Return a phone number as E.164 (`+12135550142`); a number without a country code is a US one."""
    text = unicodedata.normalize("NFKC", text).strip(" ")
    if not text:
        raise Unfit("required")
    if len(text) > 40 or any(unicodedata.category(character) == "Cc" for character in text):
        raise Unfit("phone")
    try:
        number = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException as error:
        raise Unfit("phone") from error
    possible = phonenumbers.is_possible_number_with_reason(
        number
    )  # a number without area code is only "locally" so
    if number.extension or possible != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise Unfit("phone")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def clean_text(text: str, *, limit: int, lines: bool = True) -> str:
    """Return free text with plain line ends; refuse control and direction-changing characters."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if len(text) > limit:
        raise Unfit("text_long")
    allowed = {"\n", "\t"} if lines else set()
    if any(_is_unsafe(character) and character not in allowed for character in text):
        raise Unfit("text_control")
    return text


def _is_unsafe(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cs", "Co", "Cn") or (kind == "Cf" and character not in _JOINERS)


def clean_birth_date(given: date, *, today: date) -> date:
    """Return a date of birth that somebody alive may have."""
    if not date(1900, 1, 1) <= given <= today:
        raise Unfit("birth_date")
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
"""State or territory -> the zone most of its people live in (IANA tz database, zone1970.tab). A person may change it."""

_ZONES = frozenset(available_timezones())


def clean_state(text: str) -> str:
    state = text.strip().upper()
    if state not in STATE_ZONES:
        raise Unfit("state")
    return state


def clean_zone(text: str) -> str:
    if text not in _ZONES:
        raise Unfit("time_zone")
    return text


def zone_for(*, given: str | None, state: str | None, clinic: str) -> str:
    """Return the zone a person named, else the one of their state, else the clinic's."""
    return given or (STATE_ZONES[state] if state else clinic)


def folded(text: str) -> str:
    """Return a name without case, accents and punctuation, to compare by."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c if c.isalnum() else " " for c in plain if not unicodedata.combining(c)).split())


Verdict = Literal["same", "look_alike", "other"]


def same_person(given: Person, known: Person, *, by_email: bool) -> Verdict:
    """Say whether `given` is the person we know: found by the email address, or else by phone or birth date.

    An address may be shared in a family, so a birth date weighs more than an address, and doubt never
    merges: "look_alike" gets a record of its own and a note for staff.

    >>> a = Person(first_name="Ana", last_name="Ruiz", time_zone="UTC")
    >>> same_person(a, a, by_email=True)
    'same'
    """
    first, last = (
        folded(given.first_name) == folded(known.first_name),
        folded(given.last_name) == folded(known.last_name),
    )
    births = [birth for birth in (given.birth_date, known.birth_date) if birth is not None]
    alike = len(births) == 2 and births[0] == births[1]
    if len(births) == 2 and not alike:
        return "look_alike" if first and last else "other"
    if not by_email and given.email and known.email and given.email != known.email and not alike:
        return "look_alike" if first and last else "other"
    if first and last:
        return "same"
    if not by_email:
        return "other"
    if alike:
        return "same" if first else "look_alike"
    return "other" if births else "same"
