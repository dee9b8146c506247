"""What happens to content."""

from dataclasses import dataclass

from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class ContentApproved(Event):
    """A version may leave from now on; mail that waited for it, or for an older one of the same text, may too."""

    version_id: int
    item_id: int
    language: str


@dataclass(frozen=True, kw_only=True)
class BlockApproved(Event):
    """A new version of a shared block was approved."""

    version_id: int
