"""Recovery codes of two-step sign-in. Only hashes are kept; the codes are shown once and end with their factor."""

import hashlib
import secrets
from typing import Any

from flask_security import MfRecoveryCodesUtil
from sqlalchemy import select

from crm.core.db import db
from crm.staff import service
from crm.staff.models import User

CODES = 8
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike
_GROUPS, _GROUP = 4, 4  # 16 letters of 31: 79 bits, so a slow hash adds no safety


def new_code() -> str:
    """Return a random code in groups that are easy to type."""
    letters = [secrets.choice(_LETTERS) for _ in range(_GROUPS * _GROUP)]
    return "-".join("".join(letters[at : at + _GROUP]) for at in range(0, len(letters), _GROUP))


def digest(user_id: int, code: str) -> str:
    """Return what is kept of a code. Spaces, dashes and capitals do not matter."""
    plain = "".join(code.lower().replace("-", " ").split())
    return hashlib.sha256(f"{user_id}:{plain}".encode()).hexdigest()


class HashedRecoveryCodes(MfRecoveryCodesUtil):
    """Flask-Security's recovery codes, hashed."""

    def create_recovery_codes(self, user: Any) -> list[str]:
        """Replace all codes; return the new ones, which nothing shows again."""
        codes = [new_code() for _ in range(CODES)]
        user.mf_recovery_codes = [digest(user.id, code) for code in codes]
        service.note_recovery_codes(user_id=user.id, used=False)
        return codes

    def get_recovery_codes(self, user: Any) -> list[str]:
        """Return no codes: hashes cannot be shown."""
        return []

    def check_recovery_code(self, user: Any, code: str) -> bool:
        """Tell whether a code is unused. The row stays locked, so that of two requests one uses it."""
        return digest(user.id, code) in _locked(user.id)

    def delete_recovery_code(self, user: Any, code: str) -> bool:
        """Use a code up."""
        used = digest(user.id, code)
        user.mf_recovery_codes = [kept for kept in _locked(user.id) if kept != used]
        service.note_recovery_codes(user_id=user.id, used=True)
        return True


def _locked(user_id: int) -> list[str]:
    query = select(User).where(User.id == user_id).with_for_update()
    user = db.session.scalars(query.execution_options(populate_existing=True)).one()
    return list(user.mf_recovery_codes or [])
