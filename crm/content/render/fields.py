"""Streams, languages and merge fields: what content may be filled with, by the kind of mail it is."""

import re

from crm.core.errors import Invalid

LANGUAGES = ("en", "es")
COMMERCIAL = frozenset({"prospect_edu", "referred_edu", "provider_nurture"})
TRANSACTIONAL = frozenset({"transactional", "transactional_phi"})
PAGE = "page"  # text of a public page: never mailed
STREAMS = COMMERCIAL | TRANSACTIONAL | {PAGE}

EVERYWHERE = frozenset(
    {
        "clinic_name",
        "clinic_phone",
        "clinic_address",
        "contact_url",
        "education_url",
        "referral_url",
        "portal_url",
        "console_url",
    }
)
OPTED_IN = frozenset(
    {
        "first_name",
        "signup_date",
        "unsubscribe_url",
        "preferences_url",
        "call_url",
        "not_now_url",
        "guide_url",
    }
)
ON_REQUEST = frozenset(
    {
        "first_name",
        "confirm_url",
        "preferences_url",
        "unsubscribe_url",
        "signin_url",
        "staff_signin_url",
        "data_url",
        "reference",
        "appointment_time",
    }
)
URL_FIELDS = frozenset(
    {
        "unsubscribe_url",
        "preferences_url",
        "call_url",
        "not_now_url",
        "guide_url",
        "confirm_url",
        "contact_url",
        "education_url",
        "referral_url",
        "portal_url",
        "signin_url",
        "staff_signin_url",
        "data_url",
        "console_url",
    }
)
FIELDS = EVERYWHERE | OPTED_IN | ON_REQUEST

MARK_OPEN, MARK_CLOSE = "\ue000", "\ue001"  # around a name while rendering; refused in what people write
_MERGE = re.compile(r"\{\{[ \t]*([A-Za-z0-9_]{1,40})[ \t]*((?:\|[^{}|\n]{1,80}){0,4})\}\}")
_NAME_AFTER = re.compile(r"(,?)[ ]\{\{[ \t]*first_name[ \t]*((?:\|[^{}|\n]{1,80}){0,4})\}\}")
_DEFAULT = re.compile(r"default:[ \t]*[\"“]([^\"“”\[\]%<>]{1,40})[\"”]")
FILTERED = "first_name"  # the field that may be missing, and that people type as they like
_RESERVED = re.compile(r"\{\{|\}\}|\{%|\{#|\[%|%\]|<%|%>|[\ue000\ue001\x00]")


class ContentError(Invalid):
    """A content file that cannot be used: `field` is the front matter key, `body`, or a file; `message` says what is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__({field: [message]}, f"{field}: {message}")
        self.field = field
        self.detail = message


def allowed_fields(stream: str | None) -> frozenset[str]:
    """Return the merge fields that content of a stream may use (None: any)."""
    if stream is None:
        return FIELDS
    if stream in TRANSACTIONAL:
        return EVERYWHERE | ON_REQUEST
    return EVERYWHERE | OPTED_IN if stream in COMMERCIAL else EVERYWHERE


def mark_fields(text: str) -> str:
    """Return the text with each merge field between the two marks that rendering turns into placeholders.

    A first name may be missing, so it takes the space (or comma and space) before it along: "Hello {{ first_name }},"
    reads "Hello," without one.
    """
    text = _NAME_AFTER.sub(_with_space, text)
    return _MERGE.sub(lambda found: _mark(found[1] + _filters(found[2])), text)


def _with_space(found: re.Match[str]) -> str:
    if "default" in found[2]:
        return found[0]  # it is never missing
    return _mark(("first_name_comma" if found[1] else "first_name_space") + _filters(found[2]))


def _filters(said: str) -> str:
    """Return filters as the end of a mark: `.c` for capitalize, `.d` and the hex of its words for a default.

    Raises ValueError for any other filter.
    """
    marks = ""
    for one in (part.strip() for part in said.split("|")[1:]):
        default = _DEFAULT.fullmatch(one)
        if default is None and one != "capitalize":
            raise ValueError(one)
        marks += f".d{default[1].strip().encode().hex()}" if default else ".c"
    return marks


def check_fields(text: str, *, stream: str | None, where: str) -> None:
    """Raise ContentError when a merge field is unknown, not allowed in the stream, or broken."""
    allowed = allowed_fields(stream)
    for found in _MERGE.finditer(text):
        name = found[1]
        if name not in FIELDS:
            raise ContentError(where, f"There is no merge field called “{name}”.")
        if name not in allowed:
            raise ContentError(where, f"The merge field “{name}” may not be used in {stream} mail.")
        _check_filters(name, found[2], where=where)
        if (
            name == "first_name"
            and "default" not in found[2]
            and not re.search(r"\w,? \Z", text[: found.start()])
        ):
            raise ContentError(
                where,
                "A first name may be missing, so it must follow a word or have a default: “Hello {{ first_name }},”.",
            )
    left = _RESERVED.search(_MERGE.sub("", text))
    if left:
        raise ContentError(where, f"“{left[0]}” is kept for merge fields, written like {{{{ first_name }}}}.")


def _check_filters(name: str, said: str, *, where: str) -> None:
    if said and name != FILTERED:
        raise ContentError(where, f"Only the first name has filters; “{name}” always has its value.")
    try:
        _filters(said)
    except ValueError as error:
        raise ContentError(
            where, f'“{error}” is no filter. There are: default: "words" (up to 40 letters) and capitalize.'
        ) from error


def _mark(name: str) -> str:
    return f"{MARK_OPEN}{name}{MARK_CLOSE}"
