"""The context of a request: the store, webhook sender and settings of its sandbox."""

import secrets
from dataclasses import dataclass

from flask import current_app

from crm.sandbox.events.webhook_sender import WebhookSender
from crm.sandbox.settings import SandboxSettings
from crm.sandbox.store import Store


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """One sandbox."""

    settings: SandboxSettings
    store: Store
    webhook_sender: WebhookSender

    def close(self) -> None:
        """Stop the webhook sender and close the store."""
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
    """Return the sandbox of this request."""
    found: Sandbox = current_app.extensions["sandbox"]
    return found
