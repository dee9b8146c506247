"""Validation of names, email addresses, phone numbers, states and time zones; matching of two person records.

Pure. Every check returns the normalized value or raises `InvalidValue` with a code; `REASONS` has the message.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from crm.core import time_zones, us_states
from crm.core.text import MEANS_NOTHING, clean, clean_name_signs, code_point, first_unreadable, fold

LANGUAGES = ("en", "es")
NAME_LIMIT = 60  # characters, accents composed
EMAIL_LIMIT = 254  # RFC 5321 4.5.3.1.3, less the angle brackets
LOCAL_PART_LIMIT = 64  # RFC 5321 4.5.3.1.1

REASONS = {
    "required": "This is required.",
    "name_long": "Use at most {limit} characters for a name; this has {size}.",
    "name_letters": "Use letters, spaces, hyphens and apostrophes; a name has at least one letter.",
    "name_character": (
        "A name cannot hold {character}, which stands at position {place}. Use letters, spaces, hyphens and apostrophes."
    ),
    "name_link": "A name cannot contain a web or email address.",
    "email": "Enter an email address such as name@example.com.",
    "email_long": "An email address has at most {limit} characters; this has {size}.",
    "phone": "Enter a US phone number with area code, such as 213 555 0142; start other countries' numbers with +.",
    "language": "Choose en (English) or es (Spanish).",
    "state": "Use the two letters of a US state or territory, such as CA.",
    "time_zone": "Use a time zone name such as America/Los_Angeles.",
    "birth_date": "Enter a date of birth between 1900 and today.",
    "email_filler": "This address reaches nobody. Leave it empty if there is none.",
    "choice": "Choose one of the answers in the list.",
    "moment": "Use a time such as 2026-03-02T17:30:00Z.",
    "too_many": "At most {limit} of these can be kept.",
    "open_quote": "A quotation mark is missing its partner. Add the second one, or delete the first.",
    "extra_cells": (
        "The row has more cells than the header. Put quotation marks around a cell that contains a comma."
    ),
    "repeats_row": "Duplicate, skipped. It is the same as row {row:,}.",
    "repeats_lead": "Duplicate, skipped. It is the same as {reference}, which is in already.",
    "left_out": "This row goes in without what cannot be read:",
    "diagnosis": "Use an ICD-10-CM code, such as G90.511.",
    "text_long": "Use at most {limit:,} characters; this has {size:,}.",
    "text_control": "We cannot show the character at position {place} ({character}). Delete it.",
}
"""Code of a problem -> its sentence. Every way in says these, in the reader's language (`crm.contacts.texts`)."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a value: a code, and what its sentence names.

    `details`: the limit and size of a text, the place and code of a character.
    """

    code: str
    details: Mapping[str, int | str] = field(default_factory=dict)

    def shown(self) -> dict[str, int | str]:
        """Return the details as people read them: a character that can be shown is shown."""
        found = dict(self.details)
        if code := str(found.get("character", "")):
            character = chr(int(code.removeprefix("U+"), 16))
            found["character"] = f"“{character}”" if character.isprintable() else code
        return found

    def as_text(self, name: str) -> str:
        """Return the problem of one field as one word, to be stored: "text_long:reason:limit=2000,size=2010"."""
        details = ",".join(f"{key}={value}" for key, value in self.details.items())
        return f"{self.code}:{name}:{details}" if details else f"{self.code}:{name}"

    @classmethod
    def from_text(cls, text: str) -> tuple[str, "Problem"]:
        """Return the field and the problem that `as_text` wrote."""
        code, name, details = (*text.split(":", 2), "", "")[:3]
        pairs = (one.partition("=") for one in details.split(",") if one)
        return name, cls(code, {key: int(value) if value.isdecimal() else value for key, _, value in pairs})


class InvalidValue(ValueError):
    """A value that is not accepted, and its problem. The code is a key of `REASONS`; the text is its English sentence."""

    def __init__(self, code: str, **details: int | str) -> None:
        self.problem = Problem(code, details)
        super().__init__(REASONS[code].format(**self.problem.shown()))


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


_NAME_PUNCTUATION = set(" '’ʼʻ-‐‑–.,·()ªº")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # choose a glyph and have no ink of their own
_LINK = re.compile(
    r"://|//|www\.|@|\.(?:com|net|org|info|biz|io|ly|ru|cn|top|xyz|co|me|site|online|shop|club|link|app|dev|tk)\b",
    re.IGNORECASE,
)


def clean_name(text: str) -> str:
    """Return a first or last name that is safe in records, subjects and salutations; keep accents.

    Drops commas ("Smith, Jr."), because email headers read them as separators.
    """
    text = clean_name_signs(_SELECTORS.sub("", text))
    if means_nothing(text):
        raise InvalidValue("required")
    if len(text) > NAME_LIMIT:
        raise InvalidValue("name_long", limit=NAME_LIMIT, size=len(text))
    _refuse_unreadable(text)
    if _LINK.search(text):
        raise InvalidValue("name_link")
    for place, character in enumerate(text, start=1):
        if not _fits_in_name(character):
            raise InvalidValue("name_character", place=place, character=code_point(character))
    if not any(map(str.isalpha, text)) or _piled_marks(text):
        raise InvalidValue("name_letters")
    return " ".join(text.replace(",", " ").split())


def _fits_in_name(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind[0] in "LM" or kind == "Nd" or character in _NAME_PUNCTUATION or character in "\u200c\u200d"


def means_nothing(text: str) -> bool:
    """Return whether a text says that there is no value: empty, "-", ".", "N/A", "none"."""
    return MEANS_NOTHING.fullmatch(clean(text, lines=False)) is not None


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
    text = _bare_address(clean(text, lines=False))
    if not text:
        raise InvalidValue("required")
    if len(text) > EMAIL_LIMIT:
        raise InvalidValue("email_long", limit=EMAIL_LIMIT, size=len(text))
    _refuse_unreadable(text)
    try:
        # test_environment accepts .test: demos need addresses that reach nobody
        found = validate_email(text, check_deliverability=False, allow_smtputf8=False, test_environment=True)
    except EmailNotValidError as error:
        raise InvalidValue("email") from error
    if len(found.local_part) > LOCAL_PART_LIMIT:
        raise InvalidValue("email")
    address = (found.ascii_email or found.normalized).lower()
    if is_filler(address):
        raise InvalidValue("email_filler")
    return address


_NAMED_ADDRESS = re.compile(r"[^<>]*<\s*([^<>]*?)\s*>")


def _bare_address(text: str) -> str:
    """Return the address alone of one that is copied with a name, as a link or from the end of a sentence."""
    text = text.rstrip(".,;")
    if named := _NAMED_ADDRESS.fullmatch(text):
        text = named[1]
    if text[:7].lower() == "mailto:":
        text = text[7:].partition("?")[0]
    return text.rstrip(".,;")


_FILLERS = frozenset({
    "none", "donthave", "notgiven", "notprovided", "declined", "refused", "unknown", "noreply", "donotreply",
    "null", "nil",
})  # fmt: skip
_NO_ADDRESS = re.compile(r"(?:no|sin)(?:e?mail|correo)(?:address)?(?:provided|given|available)?")
_EMPTY_WORDS = _FILLERS | {"na", "no", "nobody", "nowhere", "noemail", "nomail"}
_MAILBOXES = frozenset(
    {"gmail", "yahoo", "hotmail", "outlook", "aol", "icloud"}
)  # nobody has so short a name there
_SAME_TWICE = frozenset({"test", "x", "xx", "xxx", "abc", "a", "asdf", "asdfasdf", "qwerty"})


def is_filler(address: str) -> bool:
    """Return whether an address is what people type to say that they have none: none@none.com, na@na.com.

    A word that may be a name (na, no, nobody) counts only where the domain says nothing either.
    """
    local, _, domain = address.partition("@")
    words, site = re.split(r"[._-]+", local), domain.partition(".")[0]
    joined = "".join(words)
    if joined in _FILLERS or _NO_ADDRESS.fullmatch(joined):
        return True
    if joined == "na" or _EMPTY_WORDS.issuperset(words):
        return site in _EMPTY_WORDS | _MAILBOXES
    return local == site and local in _SAME_TWICE


_PHONE_NOTES = re.compile(
    r"\(?\b(?:cell(?:phone)?|mobile|home|work|office|tel(?:ephone)?|phone|ph|main|voicemail|vm)\b[.:]?\)?",
    re.IGNORECASE,
)
_EXTENSION = re.compile(r"[\s,;]*(?:ext(?:ension)?|x|#)[\s.:=]*(\d{1,7})\Z", re.IGNORECASE)
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))
PHONE_LIMIT = 60  # characters, with what people write around a number
EXTENSION = ";ext="  # RFC 3966, 5.3: between a number and its extension


def clean_phone(text: str) -> str:
    """Return a phone number as E.164 (`+12135550142`); a number without a country code is a US number.

    An extension stays beside it, as in a telephone link: `+12135550142;ext=12`.
    """
    text = unicodedata.normalize("NFKC", clean(text, lines=False))
    if not text:
        raise InvalidValue("required")
    _refuse_unreadable(text)
    if len(text) > PHONE_LIMIT:
        raise InvalidValue("phone")
    text = re.sub(r"^(\d{10,11})\.0$", r"\1", without_phone_notes(text))
    try:
        number = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException as error:
        raise InvalidValue("phone") from error
    # a number without an area code is only IS_POSSIBLE_LOCAL_ONLY
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise InvalidValue("phone")
    if len(set(str(number.national_number))) == 1:  # 000-000-0000, 999-999-9999: to fill the field
        raise InvalidValue("phone")
    extension = f"{EXTENSION}{number.extension}" if number.extension else ""
    return (
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).partition(";")[0] + extension
    )


def without_phone_notes(text: str) -> str:
    """Return what is typed as a phone number without the words around it ("cell", "tel."), its dashes as hyphens."""
    return _PHONE_NOTES.sub(" ", text.translate(_DASHES)).strip(" ,;-:")


def without_extension(text: str) -> str:
    """Return a phone number as people write it without its extension: "555-2671 ext 8" -> "555-2671"."""
    return _EXTENSION.sub("", text)


def number_of(phone: str) -> str:
    """Return a cleaned phone number without its extension: the part that two records are compared by."""
    return phone.partition(";")[0]


def clean_text(text: str, *, limit: int, lines: bool = True) -> str:
    """Return free text without what nobody sees or means; refuse what still cannot be shown, and name it."""
    text = clean(text, lines=lines)
    if len(text) > limit:
        raise InvalidValue("text_long", limit=limit, size=len(text))
    _refuse_unreadable(text, lines=lines)
    return text


def _refuse_unreadable(text: str, *, lines: bool = False) -> None:
    """Raise InvalidValue that names the first character that cannot be shown."""
    if (found := first_unreadable(text, lines=lines)) is not None:
        place, character = found
        raise InvalidValue("text_control", place=place, character=character)


_LANGUAGES = {
    **dict.fromkeys(("en", "eng", "english", "ingles", "usa", "us english", "american"), "en"),
    **dict.fromkeys(("es", "spa", "esp", "spanish", "espanol", "castellano", "castilian"), "es"),
}


def clean_language(text: str) -> str:
    """Return `en` or `es` for a code, a regional code ("es-MX") or a name of the language."""
    words = fold(text)
    found = _LANGUAGES.get(words) or _LANGUAGES.get(words.partition(" ")[0])
    if found is None:
        raise InvalidValue("language")
    return found


_DATE_FORMS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%m/%d/%Y",
    "%m-%d-%Y",
    "%m.%d.%Y",
    "%B %d %Y",
    "%b %d %Y",
    "%d %B %Y",
    "%d %b %Y",
    "%Y%m%d",
)
_SHORT_DATE_FORMS = ("%m/%d/%y", "%m-%d-%y")
_MIDNIGHT = re.compile(r"[T ]+0?0:00(?::00(?:\.0+)?)?(?: ?AM)?Z?\Z|[T ]+12:00(?::00)? ?AM\Z", re.IGNORECASE)


def read_birth_date(text: str, *, today: date) -> date:
    """Return a date of birth written in a usual American or ISO form, also with midnight after it.

    A year of two digits is the last one that is not in the future: 5/17/70 is 1970.
    """
    text = _MIDNIGHT.sub("", clean(text, lines=False)).replace(",", " ")
    text = " ".join(text.split())
    for form in _DATE_FORMS:
        try:
            return clean_birth_date(datetime.strptime(text, form).date(), today=today)  # noqa: DTZ007 - a day
        except ValueError as error:
            if isinstance(error, InvalidValue):
                raise
    for form in _SHORT_DATE_FORMS:
        try:
            given = datetime.strptime(text, form).date()  # noqa: DTZ007 - a day
        except ValueError:
            continue
        century = given.year % 100
        year = today.year - today.year % 100 + century
        year -= 100 if (year, given.month, given.day) > (today.year, today.month, today.day) else 0
        return clean_birth_date(date(year, given.month, given.day), today=today)
    raise InvalidValue("birth_date")


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


_STATE_NAMES = {fold(name): code for code, name in us_states.STATES} | {
    "calif": "CA", "cali": "CA", "ariz": "AZ", "colo": "CO", "conn": "CT", "fla": "FL", "ill": "IL", "ind": "IN", "mass": "MA",
    "mich": "MI", "minn": "MN", "miss": "MS", "mont": "MT", "neb": "NE", "nev": "NV", "okla": "OK", "ore": "OR", "oreg": "OR",
    "penn": "PA", "penna": "PA", "tenn": "TN", "tex": "TX", "wash": "WA", "washington dc": "DC", "washington d c": "DC",
    "wis": "WI", "wyo": "WY", "nuevo mexico": "NM", "nueva york": "NY",
}  # fmt: skip


def clean_state(text: str) -> str:
    """Return the two letters of a US state or territory, given by them, by its name or a usual short form."""
    words = fold(text)
    letters = words.replace(" ", "").upper()
    state = letters if letters in STATE_ZONES else _STATE_NAMES.get(words)
    if state is None:
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
    """Return a name without case, accents and punctuation, for comparison.

    The stored blind index of name and birth date is made of it: it must not change.
    """
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
    """Compare two people with different names on one mailbox: one person only by first name and birth date."""
    if given.birth_date is not None and given.birth_date == known.birth_date:
        return Match.SAME if same_first_name else Match.LOOK_ALIKE
    if _is_part_of(given, known):
        return Match.SAME
    return Match.OTHER if given.birth_date or known.birth_date else Match.LOOK_ALIKE


def _is_part_of(given: Person, known: Person) -> bool:
    """Return whether one record says only part of the other's name: "Ana" is "Ana Ruiz" on the same mailbox."""
    one, other = (set(folded(f"{person.first_name} {person.last_name}").split()) for person in (given, known))
    return bool(one and other) and (one <= other or other <= one)
