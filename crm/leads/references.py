"""References: the short random numbers by which people name a lead over the phone, such as `R-7K3F9Q`."""

import secrets
from collections.abc import Mapping

from crm.leads.rules import ALPHABET, CONTACT_REQUEST, REFERRAL

_LETTER: Mapping[str, str] = {CONTACT_REQUEST: "C", REFERRAL: "R"}


def new_reference(kind: str) -> str:
    """Return a random reference, one of 30**6 for each kind of lead."""
    return f"{_LETTER[kind]}-" + "".join(secrets.choice(ALPHABET) for _ in range(6))
