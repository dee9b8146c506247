"""What happens to a person's record."""

from dataclasses import dataclass

from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class ContactStopped(Event):
    """Nothing may be sent to this person any more, for a clinical reason."""

    contact_id: int
    reason: str
