"""What an audience has in common. `mount` is the one list of everything that can be reached over HTTP."""

from typing import TYPE_CHECKING

from flask_bootstrap import Bootstrap5

from crm.web import api

if TYPE_CHECKING:
    from crm.app import CrmApp
    from crm.config import Settings


def mount(app: "CrmApp", settings: "Settings") -> None:
    """Hang every surface on the app."""
    Bootstrap5(app)
    api.mount(app)
