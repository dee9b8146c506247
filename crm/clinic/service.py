"""What is set about the clinic in the console: save it, and bring it into the settings of each process.

The environment wins. A process looks for changes every few seconds, so all of them follow without a restart.
"""

import hashlib
import time
from collections.abc import Mapping

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from crm.audit import service as audit
from crm.clinic import rules
from crm.clinic.models import ClinicLogo, ClinicSetting
from crm.content import service as content
from crm.core import business_hours, clock, config, current
from crm.core.business_hours import Calendar
from crm.core.config import Clinic, ConfigError, Settings
from crm.core.db import after_commit, db, transaction
from crm.core.errors import Invalid

log = structlog.get_logger()

LOOK_EVERY = 5.0  # seconds

_looked = current.PerApp(lambda _: 0.0)


def stored() -> dict[str, str]:
    """Return the facts that were set in the console."""
    return {row.name: row.value for row in db.session.scalars(select(ClinicSetting))}


def logo() -> ClinicLogo | None:
    """Return the clinic's logo; None without one."""
    return db.session.get(ClinicLogo, 1)


def from_environment() -> Mapping[str, str]:
    """Return the facts that the environment sets; they cannot be set in the console."""
    return dict(current.settings().clinic_env)


def save(typed: Mapping[str, str]) -> None:
    """Save the facts that were typed; those of the environment are left out. Raises Invalid."""
    given = from_environment()
    facts = {name: value for name, value in rules.clean_facts(typed).items() if name not in given}
    _refuse_health_words(facts)
    before = stored()
    now, actor = clock.now(), audit.current().actor
    db.session.execute(delete(ClinicSetting).where(ClinicSetting.name.not_in(facts)))
    for name, value in facts.items():
        if before.get(name) == value:
            continue
        values = {"value": value, "set_at": now, "set_by": actor}
        row = insert(ClinicSetting).values(name=name, **values)
        db.session.execute(row.on_conflict_do_update(index_elements=["name"], set_=values))
    changed = {
        name: [before.get(name), facts.get(name)]
        for name in sorted(before.keys() | facts.keys())
        if before.get(name) != facts.get(name)
    }
    if changed:
        audit.record("clinic.set", detail={"changed": changed})
    after_commit(apply)


def _refuse_health_words(facts: Mapping[str, str]) -> None:
    """Refuse a sender's name or domain that tells a reader of the inbox about health (45 CFR 164.502)."""
    try:
        content.facts_of(config.with_clinic(current.settings(), facts))
    except ConfigError as error:
        name = "short_name" if "SHORT_NAME" in str(error) else "from_email"
        raise Invalid({name: [str(error)]}) from error


def save_logo(file: bytes) -> None:
    """Save the logo. Raises Invalid for a file that is no PNG or JPEG, or too large."""
    values = {
        "media_type": rules.logo_type(file),
        "content": file,
        "hash": hashlib.sha256(file).hexdigest()[:16],
    }
    row = insert(ClinicLogo).values(id=1, **values)
    db.session.execute(row.on_conflict_do_update(index_elements=["id"], set_=values))
    audit.record("clinic.logo", detail={"hash": values["hash"]})
    after_commit(apply)


def remove_logo() -> None:
    """Remove the logo; the name stands in its place."""
    db.session.execute(delete(ClinicLogo))
    audit.record("clinic.logo", detail={"hash": None})
    after_commit(apply)


def apply() -> None:
    """Bring what is stored into the settings of this process."""
    services = current.services()
    hash_ = db.session.scalar(select(ClinicLogo.hash)) or ""
    settings = config.with_clinic(services.settings, stored(), logo=hash_)
    if settings != services.settings:
        services.settings = settings
        services.calendar = calendar_of(settings)


def calendar_of(settings: Settings) -> Calendar:
    """Return the opening hours of the clinic as a calendar. Raises Invalid for hours that cannot be read."""
    clinic = settings.clinic
    return business_hours.calendar(zone=clinic.zone, hours=clinic.hours, closed=clinic.closed)


def refresh() -> None:
    """Bring what another process stored into the settings of this one, at most every few seconds."""
    if time.monotonic() - _looked.get() < LOOK_EVERY:
        return
    _looked.set(time.monotonic())
    try:
        with transaction():
            apply()
    except SQLAlchemyError as error:  # the request or job says so itself, if it needs the database
        log.warning("clinic.not_read", error=type(error).__name__)


def leftovers(settings: Settings) -> list[str]:
    """Return the fields that still hold the example of this service, where patients would see it."""
    example, clinic = Clinic(), settings.clinic
    return [
        name
        for name in ("short_name", "physician", "email", "care_email")
        if getattr(clinic, name) == getattr(example, name)
    ]
