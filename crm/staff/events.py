"""Events of staff accounts and alerts."""

from dataclasses import dataclass

from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class OwnerNotice(Event):
    """The owner of an account gets an email about what happened to it."""

    user_id: int
    what: str


@dataclass(frozen=True, kw_only=True)
class StaffLinkMade(Event):
    """A member of staff is to get a sign-in link in their mailbox."""

    user_id: int
    link_id: int


@dataclass(frozen=True, kw_only=True)
class AlertClosed(Event):
    """A staff member closed the alert with this key."""

    key: str
