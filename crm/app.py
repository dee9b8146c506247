"""The application: one transaction per request, and a factory that wires everything once."""

import logging

from flask_migrate import Migrate
from redis import Redis
from werkzeug.middleware.proxy_fix import ProxyFix

from crm import reactions, web
from crm.cli import register_commands
from crm.content import approval, claims_gate
from crm.content import service as content
from crm.content.render.rendering import ClinicFacts
from crm.core import business_hours, clock, config, crypto, events, failpoints, logs, queue, tokens
from crm.core.config import ROOT, Settings
from crm.core.db import db
from crm.core.flask_app import CrmApp
from crm.messages import transports

migrate = Migrate()


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
    transports.configure(settings)
    business_hours.use(
        business_hours.calendar(
            zone=settings.clinic.zone, hours=settings.clinic.hours, closed=settings.clinic.closed
        )
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
    if url is None:  # start the embedded server only with the first connection
        from crm.dev import local  # noqa: PLC0415 - never in production

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
    if settings.redis_url:
        return Redis.from_url(settings.redis_url)
    from crm.dev import local  # noqa: PLC0415 - never in production

    return local.LazyRedis(settings.local_dir)


def _facts(settings: Settings) -> ClinicFacts:
    clinic = settings.clinic
    return ClinicFacts(
        name=clinic.name,
        short_name=claims_gate.neutral_sender(clinic.short_name),
        phone=clinic.phone,
        address=clinic.address,
        public_url=settings.public_url,
        physician=clinic.physician,
        portal_path="/refer",
    )
