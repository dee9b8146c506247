"""Passkeys, for staff and for portal users: add, sign in, remove (W3C, "Web Authentication: Level 2")."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute
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
from crm.core.db import HasId, db
from crm.core.errors import Conflict, NotAllowed, NotFound
from crm.staff.models import PasskeyRow
from crm.staff.rules import Site

Account = TypeVar("Account", bound=HasId)

CHALLENGE_LIFE = 300  # seconds, of real time whatever the demo clock says
MOST = 10  # of one account
LONGEST_ID, LONGEST_NAME = 1023, 60  # bytes, characters


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


class Passkeys(Generic[Account]):
    """The passkeys of one kind of account."""

    def __init__(
        self,
        *,
        kind: str,
        table: type[PasskeyRow],
        owner: InstrumentedAttribute[int],
        account: type[Account],
        active: Callable[[Account], bool],
        names: Callable[[Account], tuple[str, str]],
    ) -> None:
        """`kind`: as in the audit log; `owner`: the column of `table` that names the account; `names`: email and name."""
        self._kind, self._table, self._owner = kind, table, owner
        self._account, self._active, self._names = account, active, names

    def sign_in_purpose(self) -> str:
        """Return the purpose of a challenge to sign in with an account of this kind."""
        return f"{self._kind} sign-in"

    def adding(self, account: Account) -> str:
        """Return the purpose of a challenge for a new passkey of this account only."""
        return f"{self._kind} add {account.id}"

    def sign_in_options(self, *, site: Site, challenge: bytes) -> str:
        """Return, as JSON, the options a browser needs to sign in; the passkey identifies the account."""
        return options_to_json(
            generate_authentication_options(
                rp_id=site.name, challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
            )
        )

    def add_options(self, account: Account, *, site: Site, challenge: bytes, clinic: str) -> str:
        """Return, as JSON, the options a browser needs to create a passkey for this account."""
        email, name = self._names(account)
        known = [PublicKeyCredentialDescriptor(id=one.credential_id) for one in self.of(account)]
        return options_to_json(
            generate_registration_options(
                rp_id=site.name,
                rp_name=clinic,
                user_id=self._handle(account.id),
                user_name=email,
                user_display_name=name,
                challenge=challenge,
                authenticator_selection=AuthenticatorSelectionCriteria(
                    resident_key=ResidentKeyRequirement.REQUIRED,
                    user_verification=UserVerificationRequirement.REQUIRED,
                ),
                exclude_credentials=known,
            )
        )

    def of(self, account: Account) -> Sequence[PasskeyRow]:
        """Return the passkeys of an account, the oldest first."""
        query = select(self._table).where(self._owner == account.id).order_by(self._table.id)
        return db.session.scalars(query).all()

    def add(self, account: Account, *, site: Site, challenge: bytes, answer: str, name: str) -> PasskeyRow:
        """Store a new passkey. `answer` is the browser's JSON. Raises NotAllowed if it proves nothing, Conflict."""
        if not spend(self.adding(account), challenge):
            raise NotAllowed("challenge")
        made = _verified_new(answer, site=site, challenge=challenge)
        # locks the account, so two concurrent requests cannot exceed the limit
        db.session.get(self._account, account.id, with_for_update={"of": self._account})
        if len(self.of(account)) >= MOST or self._by_id(made.credential_id) is not None:
            raise Conflict("full or known")
        given: dict[str, Any] = {self._owner.key: account.id}
        passkey = self._table(
            credential_id=made.credential_id,
            public_key=made.credential_public_key,
            sign_count=made.sign_count,
            name=name[:LONGEST_NAME],
            created_at=clock.now(),
            **given,
        )
        db.session.add(passkey)
        db.session.flush()
        self._record("passkey_add", account.id, passkey)
        return passkey

    def remove(self, account: Account, passkey_id: int) -> None:
        """Remove a passkey of this account. Raises NotFound, also for a passkey of another."""
        passkey = db.session.get(self._table, passkey_id)
        if passkey is None or self._owner_id(passkey) != account.id:
            raise NotFound("Passkey not found.")
        self._record("passkey_remove", account.id, passkey)
        db.session.delete(passkey)

    def sign_in(self, *, site: Site, challenge: bytes, answer: str) -> Account:
        """Return the account that a passkey signs in. `answer` is the browser's JSON. Raises NotAllowed with a code."""
        if not spend(self.sign_in_purpose(), challenge):
            raise NotAllowed("challenge")
        given = _read(answer)
        passkey = self._by_id(given.raw_id)
        if passkey is None:
            raise NotAllowed("unknown")
        owner_id = self._owner_id(passkey)
        # The handle must be there and be the owner's: Level 2, section 7.2, step 6.
        if given.response.user_handle != self._handle(owner_id):
            raise NotAllowed("handle")
        passkey.sign_count = _verified_count(passkey, given, site=site, challenge=challenge)
        account = db.session.get_one(self._account, owner_id)
        if not self._active(account):
            raise NotAllowed("closed")
        passkey.last_used_at = clock.now()
        self._record("passkey_used", account.id, passkey)
        return account

    def _by_id(self, credential_id: bytes) -> PasskeyRow | None:
        """Return the passkey, locked, so the second of two answers with one counter sees the first's."""
        query = select(self._table).where(self._table.credential_id == credential_id)
        locked = query.with_for_update(of=self._table).execution_options(populate_existing=True)
        return db.session.scalar(locked)

    def _owner_id(self, passkey: PasskeyRow) -> int:
        return int(getattr(passkey, self._owner.key))

    def _handle(self, account_id: int) -> bytes:
        """Return the opaque user handle, the same for all passkeys of an account."""
        return crypto.blind_index(
            "passkey user" if self._kind == "portal" else f"passkey {self._kind}", str(account_id)
        )

    def _record(self, action: str, account_id: int, passkey: PasskeyRow) -> None:
        kind = "portal_person" if self._kind == "portal" else self._kind
        audit.record(
            f"{self._kind}.{action}", object_type=kind, object_id=account_id, detail={"passkey": passkey.id}
        )


def _read(answer: str) -> AuthenticationCredential:
    try:
        return parse_authentication_credential_json(answer)
    except Exception as error:  # the parser fails in many ways on hostile input
        raise NotAllowed("unreadable") from error


def _verified_count(
    passkey: PasskeyRow, given: AuthenticationCredential, *, site: Site, challenge: bytes
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
