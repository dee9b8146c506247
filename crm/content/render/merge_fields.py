"""Merge fields as placeholders: one rendering serves a whole batch, and each person's values are put in afterwards.

A placeholder says where it stands, because each place escapes differently: `[%h:first_name%]` in HTML, `[%t:first_name%]` in
plain text, `[%s:first_name%]` in the subject. Values never hold anything that could become a placeholder, so the order in which
a mail provider applies the substitutions does not matter.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from crm.content.render.fields import FIELDS, MARK_CLOSE, MARK_OPEN, URL_FIELDS, ContentError

PLACES = ("h", "t", "s")
LONGEST_VALUE = 200
LONGEST_NAME = 60
LONGEST_URL = 400

_PREFIXES = {"first_name_space": " ", "first_name_comma": ", "}
_MARK = re.compile(f"{MARK_OPEN}([a-z0-9_.]{{1,400}}){MARK_CLOSE}")
_PLACEHOLDER = re.compile(r"\[%([hts]):([a-z0-9_.]{1,400})%\]")
_PLAIN = re.compile(r"[^\W_]+(?:[ .,-][^\W_]+)*[.]?")
_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#&=%+@-]+")
_IN_HTML = str.maketrans({"[": "&#91;", "]": "&#93;", "{": "&#123;", "}": "&#125;", "%": "&#37;"})
_IN_TEXT = str.maketrans({"[": "(", "]": ")", "{": "(", "}": ")", "%": "％", "<": "‹", ">": "›"})
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Placeholder(NamedTuple):
    """Where a value goes: the text to be replaced, the place (`h`, `t` or `s`), and the field with its filters."""

    key: str
    place: str
    field: str

    @property
    def base(self) -> str:
        """The field without filters."""
        return self.field.partition(".")[0]


def to_placeholders(text: str, *, place: str) -> tuple[str, frozenset[Placeholder]]:
    """Turn marked fields into placeholders of that place; raises ContentError for text that already looks like one."""
    for syntax in ("[%", "{{", "<%"):
        if syntax in text:
            raise ContentError("body", f"“{syntax}” is kept for merge fields.")
    used = frozenset(_placeholder(name, place) for name in _MARK.findall(text))
    done = _MARK.sub(lambda found: _placeholder(found[1], place).key, text)
    if MARK_OPEN in done or MARK_CLOSE in done:
        raise ContentError("body", "A merge field is broken.")
    return done, used


@lru_cache(maxsize=256)
def _placeholder(name: str, place: str) -> Placeholder:
    base = name.partition(".")[0]
    if base not in FIELDS and base not in _PREFIXES:
        raise ContentError("body", f"There is no merge field called “{name}”.")
    return Placeholder(f"[%{place}:{name}%]", place, name)


@lru_cache(maxsize=64)
def _all_of(fields: frozenset[str]) -> tuple[Placeholder, ...]:
    wide = fields | (_PREFIXES.keys() if "first_name" in fields else set())
    return tuple(_placeholder(name, place) for name in sorted(wide) for place in PLACES)


def substitutions(
    fields: Mapping[str, str],
    *,
    wanted: Iterable[Placeholder] | None = None,
    static: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return placeholder -> escaped value for one person.

    `wanted` (a rendering's `placeholders`) keeps it to what that rendering needs; `static` is the result of an earlier call for
    the fields that are the same in the whole batch. Raises ContentError for a wanted field without a value (a first name may be
    missing), an unknown field, or a URL that is not one.
    """
    chosen = _all_of(frozenset(fields)) if wanted is None else wanted
    done = dict(static) if static else {}
    same: dict[str, str] = {}  # values that need no escaping, and so are one text in all places
    for key, place, name in chosen:
        if key in done:
            continue
        if name in same:
            done[key] = same[name]
            continue
        done[key] = value = _value(fields, name, place)
        if place == "h" and "&" not in value:
            same[name] = value
    return done


def fill(text: str, fields: Mapping[str, str]) -> str:
    """Return the text with every placeholder replaced by this person's value, in one pass."""
    return _PLACEHOLDER.sub(lambda found: _value(fields, found[2], found[1]), text)


def _value(fields: Mapping[str, str], name: str, place: str) -> str:
    name, *filters = name.split(".")
    if name in URL_FIELDS:
        url = fields.get(name, "")
        if not _URL.fullmatch(url) or len(url) > LONGEST_URL:
            raise _bad_url(name, url)
        return url.replace("&", "&amp;") if place == "h" and "&" in url else url
    if name in _PREFIXES or name == "first_name":
        value = escape(_filtered(fields.get("first_name", ""), filters), place=place, longest=LONGEST_NAME)
        return _PREFIXES.get(name, "") + value if value else ""
    if name not in fields:
        raise ContentError(name, "is missing.")
    return escape(fields[name], place=place, longest=LONGEST_VALUE)


def _filtered(value: str, filters: Iterable[str]) -> str:
    """Return a value after its filters: `c` writes the first letter large, `d` and hex stands for a missing value."""
    for one in filters:
        if one == "c":
            value = value[:1].upper() + value[1:]
        elif not value.strip():
            value = bytes.fromhex(one[1:]).decode()
    return value


def _bad_url(name: str, url: str) -> ContentError:
    return ContentError(name, "is not a web address." if url else "is missing.")


def escape(value: str, *, place: str, longest: int = LONGEST_VALUE) -> str:
    """Make a value fit for its place: one clean line, without markup, header breaks or placeholder syntax."""
    if len(value) <= longest and _PLAIN.fullmatch(value):
        return value
    value = clean(value)[:longest].rstrip()
    if place == "h":
        return html.escape(value, quote=True).translate(_IN_HTML)
    return value.translate(_IN_TEXT)


def clean(value: str) -> str:
    """Return the value as one line in composed form, without control, invisible and direction-changing characters."""
    one_line = " ".join(unicodedata.normalize("NFC", value).split())
    return " ".join("".join(char for char in one_line if unicodedata.category(char) not in _UNSEEN).split())
