"""A practice's poster: a QR code that leads patients to the contact form, with the practice credited."""

import io

import segno

from crm.core import tokens
from crm.core.errors import NotFound
from crm.core.tokens import Purpose


def address(practice_id: int, *, public_url: str) -> str:
    """Return the contact form's address for patients of this practice; it identifies no patient."""
    return f"{public_url}/contact?from={tokens.sign(Purpose.PRACTICE, practice_id)}"


def practice_of(token: str | None) -> str | None:
    """Return the id of the practice that a token credits, as text; None if the token is not valid."""
    try:
        return str(tokens.read(Purpose.PRACTICE, token)[0]) if token else None
    except NotFound:
        return None


def qr_code(practice_id: int, *, public_url: str) -> bytes:
    """Return the code as SVG, black on white, with the quiet zone scanners need (ISO/IEC 18004: 4 modules)."""
    out = io.BytesIO()
    segno.make(address(practice_id, public_url=public_url), error="m", micro=False).save(
        out, kind="svg", scale=6, border=4, dark="#000", light="#fff", xmldecl=False, nl=False
    )
    return out.getvalue()
