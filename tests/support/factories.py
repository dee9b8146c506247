"""Makers of rows that tests start from: valid by default, nothing surprising."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import insert, select

from crm.consent import consent_texts
from crm.consent import service as consent
from crm.contacts.addresses import address_index
from crm.contacts.models import Contact
from crm.content import seed
from crm.content.cli import DEMO_REVIEWERS
from crm.content.models import ContentItem, ContentVersion
from crm.core import clock
from crm.core.db import Base, db
from crm.sequences import service as sequences


def contact(email: str | None = "ana@patients.example", **values: Any) -> Contact:
    """A person in Los Angeles who reads English."""
    made = Contact(
        **{
            "created_at": clock.now(),
            "first_name": "Ana",
            "last_name": "Lopez",
            "email": email,
            "email_index": address_index(email) if email else None,
            "language": "en",
            "time_zone": "America/Los_Angeles",
            **values,
        }
    )
    db.session.add(made)
    db.session.flush()
    return made


def shipped() -> None:
    """All shipped content, approved, and all shipped sequences, live.

    Loaded as an installation loads it the first time on a day; afterwards the rows of that time are put back.
    """
    db.session.flush()
    connection = db.session.connection()
    cursor = connection.connection.cursor()
    key = (connection.engine.url.database, clock.now().date())
    if _filled(cursor):
        _load_shipped()
        return
    kept = _SHIPPED.get(key)
    if kept is None:
        _load_shipped()
        _SHIPPED[key] = {name: _copied(cursor, name) for name in _filled(cursor)}
        return
    for name, rows in kept.items():
        with cursor.copy(f"copy {name} from stdin") as copy:
            copy.write(rows)


_SHIPPED: dict[tuple[str | None, date], dict[str, bytes]] = {}


def _load_shipped() -> None:
    seed.load_shipped(reviewers=DEMO_REVIEWERS)
    sequences.load_shipped(live=True)
    db.session.flush()


def _filled(cursor: Any) -> list[str]:
    """The tables of content and sequences that hold something, those that others point to first."""
    names = [
        table.name for table in Base.metadata.sorted_tables
        if table.name.startswith(("content_", "sequence"))
    ]  # fmt: skip
    asked = " union all ".join(
        f"select {place}, exists (select 1 from {name})" for place, name in enumerate(names)
    )
    return [names[place] for place, there in cursor.execute(asked).fetchall() if there]


def _copied(cursor: Any, name: str) -> bytes:
    with cursor.copy(f"copy {name} to stdout") as copy:
        return b"".join(copy)


def asked(who: Contact, topic: str = "prospect_edu") -> int:
    """The person asked to hear from us; return the id of the open confirmation."""
    made = consent.request_confirmation(
        contact=who,
        topics=[topic],
        kind="confirmation",
        wording=consent_texts.current("contact-form", who.language),
        language=who.language,
        source="form",
    )
    assert made is not None
    return made.id


def opted_in(who: Contact, topic: str = "prospect_edu") -> None:
    """The person asked and confirmed."""
    consent.confirm(confirmation_id=asked(who, topic))


def many_contacts(count: int, *, at: datetime, **values: Any) -> list[int]:
    """Many people at once, in one statement."""
    rows = [
        {
            "created_at": at,
            "first_name": "Ana",
            "last_name": f"Lopez {number}",
            "email": f"ana{number}@patients.example",
            "email_index": address_index(f"ana{number}@patients.example"),
            "language": "en",
            "time_zone": "America/Los_Angeles",
            **values,
        }
        for number in range(count)
    ]
    return list(db.session.scalars(insert(Contact).returning(Contact.id), rows))


def extra_email(key: str, *, subject: str = "A seventh email", like: str = "contact-request/06-talk") -> str:
    """An approved email of its own, in each language that `like` has; return its key."""
    old = db.session.scalars(select(ContentItem).where(ContentItem.key == like)).one()
    made = ContentItem(key=key, kind="email", title=subject, stream=old.stream, created_at=clock.now())
    db.session.add(made)
    db.session.flush()
    for version in db.session.scalars(select(ContentVersion).where(ContentVersion.item_id == old.id)):
        values = {
            name: getattr(version, name)
            for name in (
                "language",
                "number",
                "state",
                "source",
                "hash",
                "author",
                "created_at",
                "approved_at",
                "expires_at",
            )
        }
        db.session.add(ContentVersion(item_id=made.id, subject=f"{subject} ({version.language})", **values))
    db.session.flush()
    return key
