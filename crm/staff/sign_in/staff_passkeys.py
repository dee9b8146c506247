"""Passkeys of staff. One that proves its owner by fingerprint, face or code counts as both steps of signing in."""

from crm.staff.models import StaffPasskey, User
from crm.staff.sign_in.passkeys import Passkeys

PASSKEYS = Passkeys(
    kind="staff",
    table=StaffPasskey,
    owner=StaffPasskey.user_id,
    account=User,
    active=lambda user: user.active,
    names=lambda user: (user.email, user.name),
)
