"""The sandbox application: a small WSGI application of its own."""

from pathlib import Path

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException

from crm.sandbox.api.inspection import tools
from crm.sandbox.api.mail_send import sendgrid_error, v3
from crm.sandbox.api.responses import as_json
from crm.sandbox.api.suppressions import lists
from crm.sandbox.api.validation import MAX_REQUEST_BYTES
from crm.sandbox.context import Sandbox
from crm.sandbox.events.webhook_sender import WebhookSender
from crm.sandbox.pages import pages
from crm.sandbox.settings import SandboxSettings
from crm.sandbox.store import Store

v3.register_blueprint(lists)  # under the same key check and faults
_TEMPLATES = Path(__file__).resolve().parents[2] / "templates" / "sandbox"


def create_sandbox(settings: SandboxSettings) -> Flask:
    """Return the application; a thread that starts with it posts the events.

    `app.extensions["sandbox"].close()` ends the thread.
    """
    app = Flask(__name__, template_folder=str(_TEMPLATES))
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    store = Store(settings.store_path)
    webhook_sender = WebhookSender(store, settings)
    app.extensions["sandbox"] = Sandbox(settings=settings, store=store, webhook_sender=webhook_sender)
    app.register_blueprint(v3)
    app.register_blueprint(tools)
    app.register_blueprint(pages)
    app.before_request(_from_here_only)
    app.before_request(webhook_sender.start)
    app.register_error_handler(HTTPException, _error)
    webhook_sender.start()
    return app


def _from_here_only() -> tuple[str, int] | None:
    """Refuse what another site's page makes a browser send; there is no sign-in to hold it off."""
    changes = request.method not in ("GET", "HEAD", "OPTIONS")
    if changes and request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return "Not from another site.", 403
    return None


def _error(error: HTTPException) -> Response:
    if request.path.startswith("/v3/"):
        return sendgrid_error(error)
    if request.path.startswith("/sandbox/"):
        return as_json({"error": error.description}, error.code or 500)
    return Response(render_template("error.html", name=error.name, words=error.description), error.code)
