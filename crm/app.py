"""Application factory: builds an app with its settings, services, pages and commands."""

import logging

from flask_migrate import Migrate
from redis import Redis

from crm import reactions, web
from crm.cli import register_commands
from crm.clinic import service as clinic
from crm.content import service as content
from crm.core import config, failpoints, logs
from crm.core.config import ROOT, Settings
from crm.core.db import db
from crm.core.demo_clock import DemoClock
from crm.core.field_keys import FieldKeys
from crm.core.flask_app import CrmApp
from crm.core.link_keys import LinkKeys
from crm.core.mac_keys import MacKeys
from crm.core.services import Services
from crm.web import timeline_sources
from crm.web.identity_mask import MaskingEnvironment
from crm.web.proxies import TrustedProxies

migrate = Migrate()


def create_app(settings: Settings | None = None) -> CrmApp:
    """Build the application. Reads the environment when no settings are given; connects to nothing yet. Raises ConfigError."""
    settings = settings or config.load()
    logs.configure(settings.log_level)
    app = CrmApp(
        "crm", root_path=str(ROOT / "crm"), template_folder=str(ROOT / "templates"), static_folder="static"
    )
    app.jinja_environment = MaskingEnvironment
    app.services = _services(settings)
    app.config.update(_flask_config(settings))
    db.init_app(app)
    migrate.init_app(app, db, directory=str(ROOT / "crm" / "migrations"), compare_type=True)
    content.facts_of(settings)  # refuse a clinic name that emails cannot carry now, not at the first email
    failpoints.arm(None if settings.production else settings.fail_point)
    web.init_web(app, settings)
    if settings.production:
        app.wsgi_app = TrustedProxies(  # type: ignore[method-assign]
            app.wsgi_app, hops=settings.trusted_proxies, public_url=settings.public_url
        )
    app.before_work = (clinic.refresh,)
    register_commands(app)
    logging.getLogger("python_http_client").setLevel(logging.WARNING)  # at DEBUG it prints keys and bodies
    return app


def _services(settings: Settings) -> Services:
    return Services(
        settings=settings,
        demo_clock=DemoClock(None if settings.production else settings.local_dir / "clock"),
        field_keys=FieldKeys(settings.field_keys, index_key=settings.index_key),
        link_keys=LinkKeys(settings.secret_keys),
        audit_keys=MacKeys(settings.audit_keys),
        calendar=clinic.calendar_of(settings),
        redis=_redis(settings),
        reactions=reactions.TABLE,
        timeline_sources=timeline_sources.SOURCES,
    )


def _redis(settings: Settings) -> Redis:
    if settings.redis_url:
        return Redis.from_url(settings.redis_url)
    from crm.dev import local  # noqa: PLC0415 - never in production

    return local.LazyRedis(settings.local_dir)


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
