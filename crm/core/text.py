"""Text that people type or paste: cleaned first, judged after. Pure.

Word processors, phones, and chat programs put characters into text that nobody sees or means. `clean` replaces or
removes those, so that a person is never refused for a character they cannot find. What it leaves is either readable
or named by `first_unreadable`, with its place.
"""

import re
import unicodedata

_LINE_BREAKS = re.compile("\r\n|[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")

_JOINERS = "\u200c\u200d"

# Windows-1252 read as Latin-1 leaves its punctuation as control characters (RFC 8259 and HTML agree on the mapping).
_WINDOWS_1252 = {
    code: bytes([code]).decode("cp1252")
    for code in range(0x80, 0xA0)
    if code not in (0x81, 0x85, 0x8D, 0x8F, 0x90, 0x9D)
}

# Symbol and Wingdings, as Word and Outlook write them into plain text: private-use characters without a meaning elsewhere.
_PRIVATE_USE = {
    **dict.fromkeys(range(0xF020, 0xF100), "•"),
    0xF020: " ",
    0xF02D: "-",
    **dict(zip(range(0xF04A, 0xF04D), "☺😐☹", strict=True)),
    **dict(zip(range(0xF0DB, 0xF0DF), "⇔⇐⇑⇒", strict=True)),
    **dict(zip(range(0xF0DF, 0xF0EF), "←→↑↓↖↗↙↘" * 2, strict=True)),
    **dict(zip(range(0xF0EF, 0xF0F5), "⇦⇨⇧⇩↔↕", strict=True)),
    **dict(zip(range(0xF0FB, 0xF0FF), "✗✓☒☑", strict=True)),
}

# Letters and marks that have no ink: fillers, joiners of graphemes, vowels that are never drawn.
_INKLESS = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
_BLANKS = re.compile("[\u2800\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_REMOVED = str.maketrans(dict.fromkeys(map(ord, _INKLESS)))

_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_SELECTOR = re.compile(f"[{_SELECTORS}]")
_FLAG_TAGS = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,16}\U000e007f")

_APOSTROPHES = re.compile(
    "(?<=[^\\W\\d_])[´`‘′‛＇](?=[^\\W\\d_])"
)  # between two letters they mean nothing else
_APOSTROPHE = "’"

MEANS_NOTHING = re.compile(
    r"[-–—./\s]*"
    r"|(?P<open>\()?\s*(?:n\.?\s*/?\s*a\.?|none|nil|null|unknown|not (?:given|provided|available|applicable)"
    r"|ningun[oa]|no aplica)\s*(?(open)\))"
    r"|(?-i:nan|NaN|NAN)"  # as programs write it; Nan is a name
    r"|#(?:n/a|null!|value!|ref!|name\?|num!|div/0!)",  # as spreadsheets write it
    re.IGNORECASE,
)
"""What people write into a field that they leave empty."""


def clean(text: str, *, lines: bool = True) -> str:
    """Return `text` with what nobody sees or means replaced or removed; applying it again changes nothing.

    Line breaks of any kind become a newline (a space where `lines` is false), odd blanks a space, private-use bullets
    a bullet, and signs used as an apostrophe between letters an apostrophe. Soft hyphens, zero-width characters and
    direction marks disappear. Letters are composed (NFC). No visible letter is lost.
    """
    text = _LINE_BREAKS.sub("\n", text)
    text = text.translate(_WINDOWS_1252).translate(_PRIVATE_USE)
    text = _BLANKS.sub(" ", text)
    text = _without_unseen(unicodedata.normalize("NFC", text.translate(_REMOVED)))
    text = unicodedata.normalize("NFC", text)
    text = _APOSTROPHES.sub(_APOSTROPHE, text)
    return text.strip() if lines else " ".join(text.split())


_NAME_APOSTROPHES = re.compile("[´`‘′‛＇]+")
_NAME_HYPHENS = re.compile("[－﹣−]+")
_APART = re.compile("(?<!\\w)([^\\W\\d_]’) (?=[^\\W\\d_])")


def clean_name_signs(text: str) -> str:
    """Return a name in one line in which each sign used as an apostrophe or a hyphen is one: "O´ Brien" -> "O’Brien"."""
    text = _NAME_APOSTROPHES.sub(_APOSTROPHE, clean(text, lines=False))
    return _APART.sub(r"\1", _NAME_HYPHENS.sub("-", text))


def _without_unseen(text: str) -> str:
    """Remove format characters, except those that a script or an emoji needs where they stand."""
    if text.isascii():
        return text
    flags = {place for match in _FLAG_TAGS.finditer(text) for place in range(*match.span())}
    kept: list[str] = []
    for place, character in enumerate(text):
        if place in flags or not _is_unseen(character):
            kept.append(character)
        elif character in _JOINERS or _SELECTOR.match(character):
            kept.append(character)  # whether it stays depends on its neighbors, which are known only now
    return _without_loose("".join(kept))


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) == "Cf" or bool(_SELECTOR.match(character))


# Scripts whose letters join: Arabic to Myanmar, Khmer and Mongolian, those of South Asia; their later blocks.
_JOINING = (
    "\u0600-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    "\U00010a00-\U00011fff\U0001e900-\U0001eeff"
)
_PICTURES = "\u2190-\u2bff\U0001f000-\U0001faff"
_JOINER = re.compile(
    f"(?<=[{_JOINING}])([{_JOINERS}])[{_JOINERS}]*(?=[{_JOINING}])"
    f"|(?<=[{_PICTURES}{_SELECTORS}])([{_JOINERS}])[{_JOINERS}]*(?=[{_PICTURES}])"
    f"|[{_JOINERS}]+"  # between letters that do not join, it has no meaning
)
_LOOSE = re.compile(
    f"(?<![^\\s])[{_SELECTORS}]+"  # nothing before it
    f"|(?<=[!-~])[{_SELECTORS}]+(?!\u20e3)"  # ASCII has one form, except in the picture of a key
    f"|(?<=[{_SELECTORS}])[{_SELECTORS}]+"  # one is enough
)


def _without_loose(text: str) -> str:
    while (less := _LOOSE.sub("", _JOINER.sub(r"\1\2", text))) != text:
        text = less
    return text


def first_unreadable(text: str, *, lines: bool = True) -> tuple[int, str] | None:
    """Return place (from 1) and code ("U+0007") of the first character of cleaned text that cannot be shown, or None."""
    allowed = "\n\t" if lines else ""
    for place, character in enumerate(text, start=1):
        if _is_unreadable(character) and character not in allowed:
            return place, code_point(character)
    return None


def code_point(character: str) -> str:
    """Return the code of a character as Unicode writes it: "U+0007"."""
    return f"U+{ord(character):04X}"


def _is_unreadable(character: str) -> bool:
    kind = unicodedata.category(character)
    if kind == "Cn":  # unassigned in this interpreter's tables: an emoji of next year, or no character at all
        code = ord(character)
        return 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    return kind in ("Cc", "Cs", "Co")


def fold(text: str) -> str:
    """Return text without case, accents and punctuation, to compare by: "Nuñez-O’Brien" -> "nunez obrien".

    An apostrophe inside a word disappears, so that O'Brien, O’Brien and OBrien are one.
    """
    plain = unicodedata.normalize("NFKD", clean(text).casefold())
    plain = unicodedata.normalize("NFKD", plain.casefold())  # mathematical capitals are capitals only now
    plain = _INNER_APOSTROPHES.sub("", plain)
    return " ".join("".join(c if c.isalnum() else " " for c in plain if not unicodedata.combining(c)).split())


_INNER_APOSTROPHES = re.compile("(?<=\\w)['’ʼʻ‘´`′‛](?=\\w)")

_LATIN = str.maketrans({
    "ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "’": "'", "‘": "'",
    "–": "-", "—": "-", ",": " ", ";": " ",
})  # fmt: skip


def ascii_name(text: str) -> str:
    """Return a name as a mail header takes it: ASCII, no accents, no separators; "" if nothing is left of it."""
    plain = unicodedata.normalize("NFKD", clean(text, lines=False).translate(_LATIN))
    return " ".join(plain.encode("ascii", "ignore").decode().split())
