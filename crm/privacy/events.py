"""Events of privacy."""

from dataclasses import dataclass

from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class OwnDataLinkMade(Event):
    """A person asked for the link to their own data."""

    contact_id: int
    language: str
    link_id: int
