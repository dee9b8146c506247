"""The envelope of an email: sender, headers, and personal links."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from babel.dates import format_date, format_datetime

from crm.content.render.rendering import Rendered
from crm.core import tokens
from crm.core.config import Clinic
from crm.core.text import ascii_name
from crm.mailer import Envelope
from crm.messages.rules import Stream

# Which link a transactional email's field is, and where it leads. The row id comes with the message.
PATHS: Mapping[str, tuple[str, tokens.Purpose]] = {
    "confirm_url": ("/c/", tokens.Purpose.CONFIRM),
    "signin_url": ("/refer/in/", tokens.Purpose.PORTAL_SIGN_IN),
    "staff_signin_url": ("/sign-in/", tokens.Purpose.SIGN_IN),
    "data_url": ("/d/", tokens.Purpose.OWN_DATA),
}


def envelope(rendered: Rendered, *, stream: Stream, clinic: Clinic) -> Envelope:
    """Return what all recipients share. The list id names the sender and nothing about health (45 CFR 164.502)."""
    address = clinic.care_email if stream.sender == "care" else clinic.from_email
    domain = address.rpartition("@")[2]
    headers = {"Auto-Submitted": "auto-generated"}  # RFC 3834
    if not stream.transactional:
        headers["List-Id"] = f"<{stream.sender}.{domain}>"
    return Envelope(
        subject=rendered.subject,
        html=rendered.html,
        text=rendered.text,
        language=rendered.language,
        from_email=address,
        from_name=ascii_name(clinic.short_name),
        reply_to=clinic.email if clinic.email != address else None,
        headers=headers,
        list_unsubscribe=not stream.transactional,
    )


def from_params(
    params: Mapping[str, Any], *, public_url: str, language: str, clinic: Clinic
) -> dict[str, str]:
    """Return the fields of one transactional message from the opaque ids and facts it was queued with.

    `params` holds `links`: field -> row id (and optional serial), and `facts`: field -> plain text (a reference
    number), or `moments`: field -> ISO time, shown in the clinic's time zone.
    """
    fields = {}
    for field, target in params.get("links", {}).items():
        path, purpose = PATHS[field]
        row_id, serial = target if isinstance(target, list) else (target, 0)
        fields[field] = f"{public_url}{path}{tokens.sign(purpose, row_id, serial=serial)}"
    for field, moment in params.get("moments", {}).items():
        local = datetime.fromisoformat(moment).astimezone(clinic.zone)
        fields[field] = format_datetime(local, "EEEE, d MMMM y, h:mm a", locale=language)
    fields.update(params.get("facts", {}))
    return fields


@lru_cache(maxsize=4096)
def day(ordinal: int, language: str) -> str:
    """Return a date (proleptic ordinal) spelled out in one language."""
    return format_date(datetime.fromordinal(ordinal), "long", locale=language)
