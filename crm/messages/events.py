"""What happens to messages."""

from dataclasses import dataclass

from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class MessageBlocked(Event):
    """Policy keeps a message about a patient from a transport without a BAA."""

    message_id: int
    contact_id: int
    stream: str
