"""Passkeys of portal users."""

from crm.referrers.models import Passkey, PortalPerson, PortalState
from crm.staff.sign_in.passkeys import Passkeys

PASSKEYS = Passkeys(
    kind="portal",
    table=Passkey,
    owner=Passkey.person_id,
    account=PortalPerson,
    active=lambda person: person.state is PortalState.OPEN,
    names=lambda person: (person.email, person.name),
)
