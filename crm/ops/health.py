"""Whether this process lives, and whether it can serve: for load balancers and supervisors."""

from functools import cache

from alembic.script import ScriptDirectory
from flask import abort, jsonify, make_response, request
from flask.typing import ResponseReturnValue
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from crm.core import queue
from crm.core.blueprints import PublicPages
from crm.core.config import ROOT
from crm.core.db import db
from crm.ops import metrics

WRITE = text("select pg_logical_emit_message(true, 'ready', '')")  # a line of the write-ahead log, and no row

pages = PublicPages("health", __name__, url_prefix="/health")


@pages.get("/live")
def live() -> ResponseReturnValue:
    """200 while the process answers."""
    return {"status": "alive"}


@pages.get("/ready")
def ready() -> ResponseReturnValue:
    """200 when the database takes writes and has today's tables, and Redis answers; 503 and what is missing otherwise."""
    found = {"database": _database(), "redis": _redis()}
    if set(found.values()) != {"ok"}:
        abort(make_response(jsonify(status="not ready", **found), 503))
    return {"status": "ready", **found}


@pages.get("/proxy")
def proxy() -> ResponseReturnValue:
    """What the web process believes about the visitor, for `flask doctor`; raise NotFound without METRICS_TOKEN."""
    metrics.require_operator()
    chain = request.headers.get("X-Forwarded-For", "")
    return {"address": request.remote_addr, "forwarded": [part.strip() for part in chain.split(",") if part]}


def _database() -> str:
    try:
        current = set(db.session.scalars(text("select version_num from alembic_version")))
        db.session.execute(WRITE)
    except SQLAlchemyError:
        return "unreachable"
    return "ok" if current == {_newest()} else "behind"


@cache
def _newest() -> str | None:
    return ScriptDirectory(str(ROOT / "crm" / "migrations")).get_current_head()


def _redis() -> str:
    try:
        queue.redis().ping()
    except RedisError:
        return "unreachable"
    return "ok"
