"""What belongs to the app that answers just now."""

from typing import Any

from flask import current_app

from crm.core.config import Settings


def settings() -> Settings:
    """Return the settings of the running app. Raises RuntimeError outside an app context."""
    app: Any = current_app
    found: Settings = app.settings
    return found
