"""What happens to the people of a practice."""

from dataclasses import dataclass

from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class PortalLinkMade(Event):
    """Somebody of a practice is to get a link that signs them in to the portal."""

    contact_id: int
    link_id: int
    language: str
