"""Blind indexes of the last digits of a phone number, by which the desk finds a caller."""

import re

from crm.contacts.rules import number_of
from crm.core import crypto

LENGTHS = (4, 7)  # digits; 7 are a US number without its area code


def phone_endings(phone: str | None) -> dict[str, bytes | None]:
    """Return the columns `phone_last4_index` and `phone_last7_index` of an E.164 number; None where it is shorter."""
    digits = re.sub(r"\D", "", number_of(phone or ""))
    return {f"phone_last{length}_index": ending_index(digits, length) for length in LENGTHS}


def ending_index(digits: str, length: int) -> bytes | None:
    """Return the blind index of the last `length` digits, or None for fewer digits."""
    return crypto.blind_index(f"phone last {length}", digits[-length:]) if len(digits) >= length else None
