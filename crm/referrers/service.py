"""Practices and clinicians: found by NPI, created when unknown."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, text

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Invalid, NotFound
from crm.referrers.models import Clinician, Practice
from crm.referrers.rules import is_npi_format

NPI_HINT = "This is not an NPI: ten digits, the last one a check digit. (Only the format is checked here.)"


@dataclass(frozen=True, kw_only=True)
class Sender:
    """The referring clinician and practice as the sender states them. `phone` and `fax` in E.164."""

    clinician: str
    npi: str
    practice: str
    phone: str | None = None
    fax: str | None = None
    email: str | None = None
    city: str | None = None
    state: str | None = None


def find_or_create(*, sender: Sender, practice_id: int | None = None, demo: bool = False) -> Clinician:
    """Return the clinician with this NPI; create them, and their practice, when unknown. Raises Invalid.

    A known clinician is not changed; what is missing of their practice is filled in.
    `practice_id` puts a new clinician into that practice. A practice created
    here waits for approval by staff.
    """
    if not is_npi_format(sender.npi):
        raise Invalid({"npi": [NPI_HINT]})
    known = by_npi(sender.npi)
    if known is not None:
        return _fill_gaps(known, sender)
    # Of two concurrent first referrals by one clinician, the second waits here, then finds the first's.
    db.session.execute(text("select pg_advisory_xact_lock(:npi)"), {"npi": int(sender.npi)})
    known = by_npi(sender.npi)
    if known is not None:
        return _fill_gaps(known, sender)
    if practice_id is None:
        practice_id = _create_practice(sender, demo=demo).id
    clinician = Clinician(
        practice_id=practice_id, name=sender.clinician, npi=sender.npi, created_at=clock.now()
    )
    db.session.add(clinician)
    db.session.flush()
    audit.record("clinician.create", object_type="clinician", object_id=clinician.id)
    return clinician


FOUND = 20  # clinicians that a search shows

_SEARCH = text("""
    select c.id from clinician c join practice p on p.id = c.practice_id
    where not exists (
        select 1 from unnest(string_to_array(fold_name(lower(:typed)), ' ')) word
        where strpos(' ' || fold_name(lower(c.name || ' ' || p.name)), ' ' || word) = 0)
    order by c.name, c.id limit :limit
""")


def find_clinicians(typed: str) -> Sequence[Clinician]:
    """Return the clinicians with this NPI, else those of whose or whose practice's name these words begin words."""
    known = by_npi("".join(typed.split()))
    if known is not None:
        return [known]
    ids = db.session.scalars(_SEARCH, {"typed": typed, "limit": FOUND}).all()
    rows = select(Clinician).where(Clinician.id.in_(ids)).order_by(Clinician.name, Clinician.id)
    return db.session.scalars(rows).all()


def clinician(clinician_id: int) -> Clinician:
    """Return a clinician. Raises NotFound."""
    found = db.session.get(Clinician, clinician_id)
    if found is None:
        raise NotFound("Clinician not found.")
    return found


_DETAILS = ("phone", "fax", "email", "city", "state")


def differing(practice: Practice, sender: Sender) -> list[str]:
    """Return the names of the details in which a sender says something that the record of the practice does not."""
    return [
        name
        for name in _DETAILS
        if getattr(sender, name) and getattr(sender, name) != getattr(practice, name)
    ]


def _fill_gaps(clinician: Clinician, sender: Sender) -> Clinician:
    """Fill what is not known of the practice; nothing is overwritten: a sender may be mistaken."""
    practice = clinician.practice
    for name in _DETAILS:
        if getattr(practice, name) is None and getattr(sender, name) is not None:
            setattr(practice, name, getattr(sender, name))
            audit.record(
                "practice.fill", object_type="practice", object_id=practice.id, detail={"field": name}
            )
    return clinician


def by_npi(npi: str) -> Clinician | None:
    """Return the clinician with this NPI, or None."""
    return db.session.scalar(select(Clinician).where(Clinician.npi == npi))


def _create_practice(sender: Sender, *, demo: bool) -> Practice:
    practice = Practice(
        name=sender.practice,
        phone=sender.phone,
        fax=sender.fax,
        email=sender.email,
        city=sender.city,
        state=sender.state,
        created_at=clock.now(),
        demo=demo,
    )
    db.session.add(practice)
    db.session.flush()
    audit.record("practice.create", object_type="practice", object_id=practice.id)
    return practice
