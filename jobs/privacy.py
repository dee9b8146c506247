"""What is deleted by itself after its time."""

from crm.privacy import retention


def purge() -> None:
    """Delete what nobody may keep any longer."""
    retention.purge()
