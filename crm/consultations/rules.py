"""States of a consultation. Pure."""

from enum import StrEnum


class ConsultationState(StrEnum):
    """State of a consultation. Only a booked one can change."""

    BOOKED = "booked"
    RESCHEDULED = "rescheduled"
    CANCELLED = "cancelled"
    NO_SHOW = "no_show"
    ATTENDED = "attended"
