"""The Flask class of this service: one transaction per request."""

import random
import time
from collections.abc import Callable
from typing import Any

import structlog
from flask import Flask, Request, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import OperationalError
from werkzeug.routing import Rule

from crm.core.clean_request import CleanRequest
from crm.core.config import Settings
from crm.core.db import collided, transaction
from crm.core.services import Services

TRY_AGAIN_AFTER = (0.01, 0.05, 0.2, 0.5)  # seconds at most, after PostgreSQL undid one of two that collided

QUIET = frozenset({"static", "bootstrap.static", "health.live"})  # need no database

log = structlog.get_logger()


class LazyRule(Rule):
    """An address whose builder is compiled when it is first built.

    Werkzeug compiles two functions for each address at start: half of what a worker or a command takes to start, and
    most of them build none.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compile_now = super()._compile_builder
        compiled: list[Callable[..., tuple[str, str]]] = []

        def build(rule: Rule, /, **values: object) -> tuple[str, str]:
            if not compiled:
                compiled.append(compile_now(append_unknown))
            return compiled[0](rule, **values)

        return build


class Sessions(SecureCookieSessionInterface):
    """Flask's sessions. A request without the cookie does not pay for its signature."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)


class CrmApp(Flask):
    """Flask with one transaction per request: return to keep, raise to refuse."""

    request_class = CleanRequest
    session_interface = Sessions()
    url_rule_class = LazyRule
    services: Services
    before_work: tuple[Callable[[], None], ...] = ()  # called at the begin of each request and job

    @property
    def settings(self) -> Settings:
        """The settings of this app."""
        return self.services.settings

    @settings.setter
    def settings(self, value: Settings) -> None:
        self.services.settings = value

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
        if not self.testing and request.endpoint not in QUIET:
            for prepare in self.before_work:
                prepare()
        if request.routing_exception is not None or request.endpoint in QUIET:
            return super().dispatch_request()
        with transaction():
            return super().dispatch_request()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function unchanged: no view or hook of ours is asynchronous, and Flask asks fifteen times a request."""
        return func
