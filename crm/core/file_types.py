"""What a file is, told by its bytes and not by its name. Pure; nothing is ever unpacked."""

from collections.abc import Mapping

MOST_FILES, MOST_BYTES = 5, 10 * 1024 * 1024

ENDINGS: Mapping[str, tuple[str, ...]] = {
    "application/pdf": ("pdf",),
    "image/jpeg": ("jpg", "jpeg"),
    "image/png": ("png",),
}


def kind_of(content: bytes) -> str | None:
    """Return the media type of a PDF (ISO 32000), JPEG (ISO 10918) or PNG (ISO 15948) file; None for any other.

    >>> kind_of(b"MZ...")
    """
    if content.startswith(b"%PDF-") and b"%%EOF" in content[-2048:]:
        return "application/pdf"
    if content.startswith(b"\xff\xd8\xff") and b"\xff\xd9" in content[-2048:]:
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n") and content[12:16] == b"IHDR" and b"IEND" in content[-2048:]:
        return "image/png"
    return None


def file_problem(*, name: str, content: bytes) -> str | None:
    """Return the code of what is wrong with a file: empty, big, kind, name; None when it may be kept."""
    if not content:
        return "empty"
    if len(content) > MOST_BYTES:
        return "big"
    kind = kind_of(content)
    if kind is None:
        return "kind"
    if name.rpartition(".")[2].lower() not in ENDINGS[kind]:
        return "name"
    return None


def safe_name(name: str) -> str:
    """Return a file name fit to show and to offer: no path, nothing unprintable or reversing, 100 characters."""
    base = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(
        character for character in base if character.isprintable() and character not in '"<>|:*?'
    ).strip()
    stem, dot, ending = kept.rpartition(".")
    return f"{stem[:90]}{dot}{ending[:9]}" or "file"
