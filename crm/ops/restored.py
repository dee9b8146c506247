"""Checks of a restored database: the audit log, rows of each kind, fields that decrypt, and that nothing would be sent."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import select, text

from crm.audit import seals
from crm.audit import service as audit
from crm.core import crypto
from crm.core.db import db
from crm.core.field_keys import CannotDecrypt
from crm.messages.limits import copy_guard
from crm.ops import keys

COUNTED = ("contact", "lead", "referral", "consent_record", "message", "audit_entry")
_SENT = text("select exists (select from send_mark)")


def counts() -> dict[str, int]:
    """Return how many rows the tables hold that matter most."""
    return {name: db.session.scalar(text(f"select count(*) from {name}")) or 0 for name in COUNTED}


def problems(*, made_at: datetime | None) -> list[str]:
    """Return what is wrong with this database, restored from a backup of `made_at`; empty when it is sound."""
    return [*_audit(made_at), *_decrypts(), *_sends()]


def _audit(made_at: datetime | None) -> Iterator[str]:
    """Verify the log with the seals from before the backup: it cannot hold what was sealed later."""
    made = [seal for line in seals.kept() if (seal := seals.parse(line))]
    before = {
        (seal.number, seal.hash)
        for seal in made
        if made_at is None or datetime.fromisoformat(seal.at) <= made_at
    }
    for finding in audit.verify(expected=before):
        yield finding.text


def _decrypts() -> Iterator[str]:
    for place in keys.places():
        found = db.session.execute(select(place.raw).where(place.only).limit(1)).scalar()
        if found is None:
            continue
        try:
            crypto.decrypt(bytes(found))
        except CannotDecrypt:
            yield f"{place.name} cannot be decrypted: FIELD_KEYS lacks its key."


def _sends() -> Iterator[str]:
    if db.session.scalar(_SENT) and copy_guard.difference() is None:
        yield "Sending would not be held: this database looks like the one that sends."
