"""One-time sign-in links, for staff and for portal users.

A link works once and for a short time. That time is real time, so moving the demo clock does not extend it.
"""

from datetime import timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import InstrumentedAttribute

from crm.core import clock, tokens
from crm.core.db import HasId, db
from crm.core.errors import NotFound
from crm.core.tokens import Purpose
from crm.staff.models import OneTime

Account = TypeVar("Account", bound=HasId)

LINK_LIFE = timedelta(minutes=15)
INVITATION_LIFE = timedelta(days=3)


class OneTimeLinks(Generic[Account]):
    """The links of one kind of account."""

    def __init__(
        self,
        *,
        table: type[OneTime],
        owner: InstrumentedAttribute[int],
        account: type[Account],
        active: ColumnElement[bool],
        purpose: Purpose,
        expired: str,
    ) -> None:
        """`owner` is the column of `table` that names the account; `expired` is what an unusable link says."""
        self._table, self._owner, self._account = table, owner, account
        self._active, self._purpose, self._expired = active, purpose, expired

    def make(self, account: Account, *, life: timedelta = LINK_LIFE) -> int:
        """Store a link that works once, within `life`; return its id."""
        values: dict[str, Any] = {self._owner.key: account.id}
        link = self._table(made_at=clock.real_now(), expires_at=clock.real_now() + life, **values)
        db.session.add(link)
        db.session.flush()
        return link.id

    def owner_of(self, token: str) -> Account:
        """Return the account that an unused link signs in. Raises NotFound."""
        table = self._table
        account = db.session.scalar(
            select(self._account)
            .join(table, self._owner == self._account.id)
            .where(
                table.id == self._id(token),
                table.used_at.is_(None),
                table.expires_at > clock.real_now(),
                self._active,
            )
        )
        if account is None:
            raise NotFound(self._expired)
        return account

    def use(self, token: str) -> Account:
        """Use a link up and return the account it signs in; of two requests at once, one succeeds. Raises NotFound."""
        account = self.owner_of(token)
        won = db.session.scalar(
            update(self._table)
            .where(self._table.id == self._id(token), self._table.used_at.is_(None))
            .values(used_at=clock.real_now())
            .returning(self._table.id)
        )
        if won is None:
            raise NotFound(self._expired)
        return account

    def void(self, account: Account) -> None:
        """Make the unused links of an account worthless."""
        db.session.execute(
            update(self._table)
            .where(self._owner == account.id, self._table.used_at.is_(None))
            .values(used_at=clock.real_now())
        )

    def _id(self, token: str) -> int:
        link_id, _ = tokens.read(self._purpose, token)
        return link_id
