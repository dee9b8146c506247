"""Portal accounts: invite, request access, approve, refuse, close; sign-in links by email."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, text

from crm.audit import service as audit
from crm.contacts.addresses import address_index
from crm.contacts.models import Contact, Tag
from crm.contacts.rules import InvalidValue, clean_email
from crm.core import clock, events
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.tokens import Purpose
from crm.referrers import service
from crm.referrers.events import PortalLinkMade
from crm.referrers.models import PortalLink, PortalPerson, PortalState, Practice
from crm.referrers.service import Sender
from crm.staff.one_time_links import INVITATION_LIFE, LINK_LIFE, OneTimeLinks

TAG = "referring-practice"


def get(person_id: int) -> PortalPerson:
    """Return a portal user. Raises NotFound."""
    person = db.session.get(PortalPerson, person_id)
    if person is None:
        raise NotFound("Portal user not found.")
    return person


def practice(practice_id: int) -> Practice:
    """Return a practice. Raises NotFound."""
    found = db.session.get(Practice, practice_id)
    if found is None:
        raise NotFound("Practice not found.")
    return found


def people_of(practice_id: int) -> Sequence[PortalPerson]:
    """Return the portal users of a practice; those who wait for approval first."""
    query = select(PortalPerson).where(PortalPerson.practice_id == practice_id)
    return db.session.scalars(query.order_by(PortalPerson.state, PortalPerson.name, PortalPerson.id)).all()


def check_address(*, contact_id: int, email: str | None) -> None:
    """Refuse a changed address for the record of a portal user, whose account holds the address. Raises Invalid."""
    accounts = select(PortalPerson.email).where(PortalPerson.contact_id == contact_id)
    held = db.session.scalar(accounts.limit(1))
    if held is not None and held != email:
        raise Invalid(
            {"email": ["This person signs in to the portal with this address. Invite the new one."]}
        )


def waiting(limit: int = 50) -> Sequence[PortalPerson]:
    """Return the portal users who wait for approval, the oldest first."""
    query = (
        select(PortalPerson)
        .where(PortalPerson.state == PortalState.ASKED)
        .order_by(PortalPerson.id)
        .limit(limit)
    )
    return db.session.scalars(query).all()


def invite(*, practice_id: int, name: str, email: str, zone: str, language: str = "en") -> PortalPerson:
    """Open an account for a person at a practice and email them a sign-in link. Raises Invalid, NotFound."""
    home, wrong = practice(practice_id), {}
    name = name.strip()
    if not 0 < len(name) <= 80:
        wrong["name"] = ["Enter a name of up to 80 characters."]
    try:
        email = clean_email(email)
    except InvalidValue:
        wrong["email"] = ["Enter an email address, such as name@practice.example."]
    else:
        if _by_email(email) is not None:
            wrong["email"] = ["This address already has an account."]
    if language not in ("en", "es"):
        wrong["language"] = ["Choose English or Spanish."]
    if wrong:
        raise Invalid(wrong)
    person = _create(home.id, name=name, email=email, zone=zone, language=language, state=PortalState.OPEN)
    if home.approved_at is None:
        home.approved_at = clock.now()
    _send_link(person, life=INVITATION_LIFE)
    audit.record("portal.invite", object_type="portal_person", object_id=person.id)
    return person


def ask_to_join(*, sender: Sender, name: str, email: str, zone: str, language: str) -> PortalPerson | None:
    """Store a request for an account, for staff to decide. Return None if the address already has one.

    A known NPI means the practice of that clinician. Raises Invalid if the NPI is malformed.
    """
    clinician = service.find_or_create(sender=sender)
    db.session.execute(text("select pg_advisory_xact_lock(hashtext(:email))"), {"email": email})
    if _by_email(email) is not None:
        return None
    person = _create(
        clinician.practice_id, name=name, email=email, zone=zone, language=language, state=PortalState.ASKED
    )
    audit.record("portal.ask", object_type="portal_person", object_id=person.id)
    return person


def approve(person_id: int) -> None:
    """Open a requested or closed account, approve its practice, and email a sign-in link. Raises Conflict, NotFound."""
    person = _locked(person_id)
    if person.state is PortalState.OPEN:
        raise Conflict("This account is already active.")
    person.state, person.approved_at = PortalState.OPEN, clock.now()
    person.practice.approved_at = person.practice.approved_at or clock.now()
    _send_link(person, life=INVITATION_LIFE)
    audit.record("portal.approve", object_type="portal_person", object_id=person.id)


def close(person_id: int) -> None:
    """Refuse a request or close an account; its sessions and links end at once. Raises Conflict, NotFound."""
    person = _locked(person_id)
    if person.state is PortalState.CLOSED:
        raise Conflict("This account is already closed.")
    person.state = PortalState.CLOSED
    end_sessions(person)
    LINKS.void(person)
    audit.record("portal.close", object_type="portal_person", object_id=person.id)


def end_sessions(person: PortalPerson) -> None:
    """Sign a portal user out on all devices."""
    person.serial += 1


def ask_link(email: str) -> None:
    """Email a sign-in link to this address if it has an active account; never reveal whether it has."""
    try:
        person = _by_email(clean_email(email))
    except InvalidValue:
        return
    if person is not None and person.state is PortalState.OPEN:
        _send_link(person, life=LINK_LIFE)


LINKS = OneTimeLinks(
    table=PortalLink,
    owner=PortalLink.person_id,
    account=PortalPerson,
    active=PortalPerson.state == PortalState.OPEN,
    purpose=Purpose.PORTAL_SIGN_IN,
    expired="This link was used or has expired. Request a new one.",
)


def use_link(token: str) -> PortalPerson:
    """Use a link up and return the portal user it signs in. Raises NotFound."""
    person = LINKS.use(token)
    signed_in(person)
    return person


def signed_in(person: PortalPerson) -> None:
    """Record that a portal user signed in."""
    person.last_seen_at = clock.now()
    audit.record("portal.sign_in", object_type="portal_person", object_id=person.id)


def _send_link(person: PortalPerson, *, life: timedelta) -> None:
    link_id = make_link(person, life=life)
    events.publish(PortalLinkMade(contact_id=person.contact_id, link_id=link_id, language=person.language))


def make_link(person: PortalPerson, *, life: timedelta = LINK_LIFE) -> int:
    """Store a link that signs this portal user in once, within `life`; return its id."""
    link_id = LINKS.make(person, life=life)
    audit.record("portal.link_made", object_type="portal_person", object_id=person.id)
    return link_id


def _by_email(email: str) -> PortalPerson | None:
    return db.session.scalar(select(PortalPerson).where(PortalPerson.email == email))


def _create(
    practice_id: int, *, name: str, email: str, zone: str, language: str, state: PortalState
) -> PortalPerson:
    first, _, last = name.partition(" ")
    now = clock.now()
    contact = Contact(
        created_at=now,
        first_name=first,
        last_name=last,
        email=email,
        email_index=address_index(email),
        language=language,
        time_zone=zone,
    )
    db.session.add(contact)
    db.session.flush()
    db.session.add(Tag(contact_id=contact.id, tag=TAG, added_at=now))
    person = PortalPerson(
        practice_id=practice_id,
        contact_id=contact.id,
        name=name,
        email=email,
        language=language,
        state=state,
        serial=0,
        created_at=now,
        approved_at=now if state is PortalState.OPEN else None,
    )
    db.session.add(person)
    db.session.flush()
    return person


def _locked(person_id: int) -> PortalPerson:
    person = db.session.get(PortalPerson, person_id, with_for_update={"of": PortalPerson})
    if person is None:
        raise NotFound("Portal user not found.")
    return person
