"""The Flask class of this service: one transaction per request."""

import random
import time
from collections.abc import Callable

import structlog
from flask import Flask, request
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


class CrmApp(Flask):
    """Flask with one transaction per request: return to keep, raise to refuse."""

    request_class = CleanRequest
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
        with transaction():
            return super().dispatch_request()
