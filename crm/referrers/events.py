"""Events of portal accounts."""

from dataclasses import dataclass

from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class PortalLinkMade(Event):
    """A portal user is to get a sign-in link by email."""

    contact_id: int
    link_id: int
    language: str
