"""The application: one transaction per request, and a factory that wires everything once."""

import logging
import random
import time

import structlog
from flask import Flask, request
from flask.typing import ResponseReturnValue
from flask_migrate import Migrate
from redis import Redis
from sqlalchemy.exc import OperationalError
from werkzeug.middleware.proxy_fix import ProxyFix

from crm import clock, config, crypto, events, failpoints, local, logs, queue, reactions, tokens, web
from crm.cli import register_commands
from crm.config import ROOT, Settings
from crm.content import approval, checking
from crm.content import service as content
from crm.content.rendering import ClinicFacts
from crm.db import collided, db, transaction
from crm.leads import clocks
from crm.messages import doors

TRY_AGAIN_AFTER = (0.01, 0.05, 0.2, 0.5)  # seconds at most, after PostgreSQL undid one of two that collided

log = structlog.get_logger()
migrate = Migrate()


class CrmApp(Flask):
    """Flask with one transaction per request: return to keep, raise to refuse."""

    settings: Settings

    def dispatch_request(self) -> ResponseReturnValue:
        for pause in TRY_AGAIN_AFTER:
            try:
                return self._dispatch()
            except OperationalError as error:
                if not collided(error) or request.files:  # a file has been read and cannot be read again
                    raise
                log.warning("request.again", error=type(error.orig).__name__)
            time.sleep(pause * random.random())  # noqa: S311 - parts those who collided, guards nothing
        return self._dispatch()

    def _dispatch(self) -> ResponseReturnValue:
        with transaction():
            return super().dispatch_request()


def create_app(settings: Settings | None = None) -> CrmApp:
    """Build the application. Reads the environment when no settings are given; connects to nothing yet."""
    settings = settings or config.load()
    logs.configure(settings.log_level)
    app = CrmApp(
        "crm", root_path=str(ROOT / "crm"), template_folder=str(ROOT / "templates"), static_folder="static"
    )
    app.settings = settings
    app.config.update(_flask_config(settings))
    crypto.use_keys(settings.field_keys)
    tokens.use_keys(settings.secret_keys)
    clock.use_offset_file(None if settings.production else settings.local_dir / "clock")
    db.init_app(app)
    migrate.init_app(app, db, directory=str(ROOT / "crm" / "migrations"), compare_type=True)
    queue.connect(_redis(settings))
    events.route(reactions.TABLE)
    doors.configure(settings)
    clocks.use(
        clocks.calendar(zone=settings.clinic.zone, hours=settings.clinic.hours, closed=settings.clinic.closed)
    )
    content.configure(_facts(settings))
    approval.configure(reviewers=settings.reviewers)
    failpoints.arm(None if settings.production else settings.fail_point)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    web.mount(app, settings)
    register_commands(app)
    logging.getLogger("python_http_client").setLevel(logging.WARNING)  # at DEBUG it prints keys and bodies
    return app


def _flask_config(settings: Settings) -> dict[str, object]:
    options: dict[str, object] = {"hide_parameters": True}
    url = settings.database_url
    if url is None:  # start the embedded server only when somebody really connects
        url = "postgresql+psycopg://"
        options["creator"] = local.connector(settings.local_dir)
    return {
        "SECRET_KEY": settings.secret_keys[0],
        "SECRET_KEY_FALLBACKS": list(settings.secret_keys[1:]),
        "SQLALCHEMY_DATABASE_URI": url,
        "SQLALCHEMY_ENGINE_OPTIONS": options,
        "MAX_CONTENT_LENGTH": 1024 * 1024,
        "SESSION_COOKIE_SECURE": settings.secure,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "TEMPLATES_AUTO_RELOAD": False,
        "BOOTSTRAP_SERVE_LOCAL": True,
    }


def _redis(settings: Settings) -> Redis:
    return Redis.from_url(settings.redis_url) if settings.redis_url else local.LazyRedis(settings.local_dir)


def _facts(settings: Settings) -> ClinicFacts:
    clinic = settings.clinic
    return ClinicFacts(
        name=clinic.name,
        short_name=checking.neutral_sender(clinic.short_name),
        phone=clinic.phone,
        address=clinic.address,
        public_url=settings.public_url,
        physician=clinic.physician,
        portal_path="/refer",
    )
