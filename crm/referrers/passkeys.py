"""Passkeys of portal users: add, sign in, remove (W3C, "Web Authentication: Level 2")."""

from collections.abc import Sequence

from redis.exceptions import RedisError
from sqlalchemy import select
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import generate_challenge, parse_authentication_credential_json
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)
from webauthn.registration.verify_registration_response import VerifiedRegistration

from crm.audit import service as audit
from crm.core import clock, crypto, queue
from crm.core.db import db
from crm.core.errors import Conflict, NotAllowed, NotFound
from crm.referrers.models import Passkey, PortalPerson, PortalState
from crm.referrers.rules import Site

CHALLENGE_LIFE = 300  # seconds, of real time whatever the demo clock says
MOST = 10  # of one person
LONGEST_ID, LONGEST_NAME = 1023, 60  # bytes, characters

SIGN_IN = "sign-in"


def new_challenge(purpose: str) -> bytes:
    """Return a challenge for one attempt at `purpose` within `CHALLENGE_LIFE`. Raises Conflict if Redis is down."""
    challenge = generate_challenge()
    try:
        queue.redis().set(_kept(purpose, challenge), 1, ex=CHALLENGE_LIFE)
    except RedisError as error:
        raise Conflict("Passkeys are not available right now. Try again in a minute.") from error
    return challenge


def spend(purpose: str, challenge: bytes) -> bool:
    """Use a challenge up; tell whether it was still valid. A failed attempt uses it up too."""
    try:
        return queue.redis().delete(_kept(purpose, challenge)) == 1
    except RedisError:
        return False


def _kept(purpose: str, challenge: bytes) -> str:
    return f"passkey:{crypto.blind_index(f'passkey {purpose}', challenge.hex())[:16].hex()}"


def adding(person: PortalPerson) -> str:
    """Return the purpose of a challenge for a new passkey of this portal user only."""
    return f"add {person.id}"


def sign_in_options(*, site: Site, challenge: bytes) -> str:
    """Return, as JSON, the options a browser needs to sign in; the passkey identifies the portal user."""
    return options_to_json(
        generate_authentication_options(
            rp_id=site.name, challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
        )
    )


def add_options(person: PortalPerson, *, site: Site, challenge: bytes, clinic: str) -> str:
    """Return, as JSON, the options a browser needs to create a passkey for this portal user."""
    return options_to_json(
        generate_registration_options(
            rp_id=site.name,
            rp_name=clinic,
            user_id=_handle(person.id),
            user_name=person.email,
            user_display_name=person.name,
            challenge=challenge,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[
                PublicKeyCredentialDescriptor(id=one.credential_id) for one in of_person(person)
            ],
        )
    )


def of_person(person: PortalPerson) -> Sequence[Passkey]:
    """Return the passkeys of a portal user, the oldest first."""
    return db.session.scalars(
        select(Passkey).where(Passkey.person_id == person.id).order_by(Passkey.id)
    ).all()


def add(person: PortalPerson, *, site: Site, challenge: bytes, answer: str, name: str) -> Passkey:
    """Store a new passkey. `answer` is the browser's JSON. Raises NotAllowed if it proves nothing, Conflict."""
    if not spend(adding(person), challenge):
        raise NotAllowed("challenge")
    made = _verified_new(answer, site=site, challenge=challenge)
    # locks the portal user, so two concurrent requests cannot exceed the limit
    db.session.get(PortalPerson, person.id, with_for_update={"of": PortalPerson})
    if len(of_person(person)) >= MOST or _by_id(made.credential_id) is not None:
        raise Conflict("full or known")
    passkey = Passkey(
        person_id=person.id,
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        name=name[:LONGEST_NAME],
        created_at=clock.now(),
    )
    db.session.add(passkey)
    db.session.flush()
    audit.record("portal.passkey_add", object_type="portal_person", object_id=person.id, detail=_id(passkey))
    return passkey


def remove(person: PortalPerson, passkey_id: int) -> None:
    """Remove a passkey of this portal user. Raises NotFound, also for a passkey of another."""
    passkey = db.session.get(Passkey, passkey_id)
    if passkey is None or passkey.person_id != person.id:
        raise NotFound("Passkey not found.")
    audit.record(
        "portal.passkey_remove", object_type="portal_person", object_id=person.id, detail=_id(passkey)
    )
    db.session.delete(passkey)


def sign_in(*, site: Site, challenge: bytes, answer: str) -> PortalPerson:
    """Return the portal user that a passkey signs in. `answer` is the browser's JSON. Raises NotAllowed with a code."""
    if not spend(SIGN_IN, challenge):
        raise NotAllowed("challenge")
    given = _read(answer)
    passkey = _by_id(given.raw_id)
    if passkey is None:
        raise NotAllowed("unknown")
    # The handle must be there and be the owner's: Level 2, section 7.2, step 6.
    if given.response.user_handle != _handle(passkey.person_id):
        raise NotAllowed("handle")
    passkey.sign_count = _verified_count(passkey, given, site=site, challenge=challenge)
    person = passkey.person
    if person.state is not PortalState.OPEN:
        raise NotAllowed("closed")
    person.last_seen_at = passkey.last_used_at = clock.now()
    audit.record("portal.sign_in", object_type="portal_person", object_id=person.id, detail=_id(passkey))
    return person


def _read(answer: str) -> AuthenticationCredential:
    try:
        return parse_authentication_credential_json(answer)
    except Exception as error:  # the parser fails in many ways on hostile input
        raise NotAllowed("unreadable") from error


def _verified_count(
    passkey: Passkey, given: AuthenticationCredential, *, site: Site, challenge: bytes
) -> int:
    """Return the counter of a valid answer. Raises NotAllowed, also when a counting device did not count up (a clone)."""
    try:
        return verify_authentication_response(
            credential=given,
            expected_challenge=challenge,
            expected_rp_id=site.name,
            expected_origin=site.origin,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=True,
        ).new_sign_count
    except Exception as error:  # the library fails in many ways on hostile input
        raise NotAllowed("unproved") from error


def _verified_new(answer: str, *, site: Site, challenge: bytes) -> VerifiedRegistration:
    try:
        made = verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=site.name,
            expected_origin=site.origin,
            require_user_verification=True,
        )
    except Exception as error:  # the library fails in many ways on hostile input
        raise NotAllowed("unproved") from error
    if len(made.credential_id) > LONGEST_ID:
        raise NotAllowed("unproved")
    return made


def _by_id(credential_id: bytes) -> Passkey | None:
    """Return the passkey, locked, so the second of two answers with one counter sees the first's."""
    query = select(Passkey).where(Passkey.credential_id == credential_id)
    return db.session.scalar(query.with_for_update(of=Passkey).execution_options(populate_existing=True))


def _handle(person_id: int) -> bytes:
    """Return the opaque user handle, the same for all passkeys of a portal user."""
    return crypto.blind_index("passkey user", str(person_id))


def _id(passkey: Passkey) -> dict[str, int]:
    return {"passkey": passkey.id}
