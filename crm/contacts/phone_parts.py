"""Blind indexes of parts of a phone number, by which the desk finds a caller."""

import re

from crm.contacts.rules import number_of
from crm.core import crypto

LENGTHS = (4, 7)  # last digits; 7 are a US number without its area code
FIRST = 6  # first digits: a US area code and the three digits after it


def phone_parts(phone: str | None) -> dict[str, bytes | None]:
    """Return the index columns of an E.164 number; None where it is shorter.

    They are `phone_last4_index`, `phone_last7_index` and `phone_first6_index`, the last one without the 1 of US numbers.
    """
    digits = re.sub(r"\D", "", number_of(phone or ""))
    ends = {f"phone_last{length}_index": ending_index(digits, length) for length in LENGTHS}
    return {**ends, "phone_first6_index": beginning_index(national(digits))}


def national(digits: str) -> str:
    """Return digits without the 1 before a US number: no area code begins with 1."""
    return digits.removeprefix("1")


def ending_index(digits: str, length: int) -> bytes | None:
    """Return the blind index of the last `length` digits, or None for fewer digits."""
    return crypto.blind_index(f"phone last {length}", digits[-length:]) if len(digits) >= length else None


def beginning_index(digits: str) -> bytes | None:
    """Return the blind index of the first six digits, or None for fewer digits."""
    return crypto.blind_index(f"phone first {FIRST}", digits[:FIRST]) if len(digits) >= FIRST else None
