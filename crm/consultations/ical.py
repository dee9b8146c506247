"""iCalendar files (RFC 5545): one consultation to add, and the private feed of a staff member.

They hold times and references. The names of people stay in the console: calendars are copied to phones and other companies.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import assert_never
from urllib.parse import urlsplit

from crm.consultations.models import Consultation
from crm.consultations.rules import ConsultationState
from crm.core.config import Settings


def calendar_file(
    shown: Iterable[Consultation], *, sequences: Mapping[int, int], settings: Settings, name: str = ""
) -> str:
    """Return a calendar of consultations. `sequences`: how often each lead's consultations were changed, by lead id.

    A consultation that was moved keeps its UID, so that a calendar moves its entry in place of adding one.
    """
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Clinic CRM//Consultations//EN", "METHOD:PUBLISH"]
    if name:
        lines += [
            f"X-WR-CALNAME:{_escaped(name)}",
            "REFRESH-INTERVAL;VALUE=DURATION:PT15M",
            "X-PUBLISHED-TTL:PT15M",
        ]
    for one in shown:
        was_moved = one.state is ConsultationState.RESCHEDULED  # the entry that took its place counts higher
        number = one.revision if was_moved else sequences.get(one.lead_id, one.revision)
        lines += _event(one, sequence=number, settings=settings)
    lines.append("END:VCALENDAR")
    return "".join(_folded(line) + "\r\n" for line in lines)


def _place(settings: Settings) -> str:
    """Return where consultations are: the name and address of the clinic."""
    return f"{settings.clinic.name}, {settings.clinic.address}"


def _host(settings: Settings) -> str:
    """Return the host that ends every UID."""
    return urlsplit(settings.public_url).hostname or "localhost"


def _event(consultation: Consultation, *, sequence: int, settings: Settings) -> list[str]:
    ends = consultation.starts_at + timedelta(minutes=consultation.minutes)
    return [
        "BEGIN:VEVENT",
        f"UID:consultation-{consultation.first_id or consultation.id}@{_host(settings)}",
        f"SEQUENCE:{sequence}",
        f"DTSTAMP:{_stamp(consultation.state_at)}",
        f"DTSTART:{_stamp(consultation.starts_at)}",
        f"DTEND:{_stamp(ends)}",
        f"SUMMARY:Consultation {consultation.lead.reference}",
        f"LOCATION:{_escaped(_place(settings))}",
        f"STATUS:{_status(consultation.state)}",
        "CLASS:PRIVATE",
        "END:VEVENT",
    ]


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%SZ")


def _status(state: ConsultationState) -> str:
    match state:
        case ConsultationState.CANCELLED | ConsultationState.RESCHEDULED:
            return "CANCELLED"
        case ConsultationState.BOOKED | ConsultationState.ATTENDED | ConsultationState.NO_SHOW:
            return "CONFIRMED"
        case _:
            assert_never(state)


def _escaped(text: str) -> str:
    for sign in ("\\", ";", ","):
        text = text.replace(sign, "\\" + sign)
    return text.replace("\n", "\\n")


def _folded(line: str) -> str:
    """Fold a line into pieces of at most 75 bytes (RFC 5545 3.1)."""
    pieces, piece = [], ""
    for character in line:
        if len((piece + character).encode()) > 74:
            pieces.append(piece)
            piece = ""
        piece += character
    return "\r\n ".join([*pieces, piece])
