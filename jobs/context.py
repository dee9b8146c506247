"""The app a worker was built with; jobs run inside its context."""

from crm.core.flask_app import CrmApp

_app: CrmApp | None = None


def use(app: CrmApp) -> None:
    """Run jobs in this app from now on."""
    global _app
    _app = app


def app() -> CrmApp:
    """Return the worker's app."""
    if _app is None:
        raise RuntimeError("Jobs run inside a worker: flask --app wsgi worker")
    return _app
