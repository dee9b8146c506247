"""What a request finds: the store, the webhook_sender and the settings of the stand-in it came to."""

import secrets
from dataclasses import dataclass

from flask import current_app

from crm.sandbox.events.webhook_sender import WebhookSender
from crm.sandbox.settings import SandboxSettings
from crm.sandbox.store import Store


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """One stand-in."""

    settings: SandboxSettings
    store: Store
    webhook_sender: WebhookSender

    def close(self) -> None:
        """Stop telling and close the store."""
        self.webhook_sender.stop()
        self.store.close()

    def new_batch(self) -> str:
        batch = secrets.token_urlsafe(36)
        with self.store.write() as connection:
            connection.execute("INSERT INTO batches VALUES (?)", (batch,))
        return batch

    def knows_batch(self, batch_id: str) -> bool:
        with self.store.read() as connection:
            return (
                connection.execute("SELECT 1 FROM batches WHERE id = ?", (batch_id,)).fetchone() is not None
            )


def sandbox() -> Sandbox:
    """Return the stand-in this request came to."""
    found: Sandbox = current_app.extensions["sandbox"]
    return found
