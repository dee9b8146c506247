"""Diagnostics of PostgreSQL and Redis: rights that the service should not have, connections in clear."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError
from sqlalchemy import make_url, text

from crm.core import queue
from crm.core.config import Settings
from crm.core.db import db
from crm.ops.findings import Finding

ROLES = "Run docs/deploy/roles.sql, and let the service be clinic_app"
LOCAL = ("", "localhost", "127.0.0.1", "::1")

_RIGHTS = text("""
    select (select rolsuper from pg_roles where rolname = current_user) as superuser,
        has_schema_privilege(current_user, 'public', 'create') as creates,
        (select string_agg(c.relname, ', ' order by c.relname) from pg_trigger t join pg_class c on c.oid = t.tgrelid
            where t.tgname = c.relname || '_append_only'
                and has_table_privilege(current_user, c.oid, 'update, delete, truncate, trigger')) as changes,
        coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as encrypted
""")


def findings(settings: Settings) -> Iterator[Finding]:
    """Check both servers. Only in production: one machine's embedded servers are their owner's."""
    if settings.production:
        yield from database(settings)
        yield from redis(settings)


def database(settings: Settings) -> Iterator[Finding]:
    """Check the rights of the service's role, and the encryption of its connection."""
    row = db.session.execute(_RIGHTS).one()
    if row.superuser:
        yield Finding("problem", f"The service is a superuser of PostgreSQL. {ROLES}.", "rights")
    elif row.changes:
        words = f"The service may change what was recorded ({row.changes}). {ROLES}."
        yield Finding("problem", words, "rights")
    elif row.creates:
        yield Finding("problem", f"The service may create tables and functions. {ROLES}.", "rights")
    host = make_url(settings.database_url or "").host or ""
    if not row.encrypted and host not in LOCAL and not host.startswith("/"):
        words = "The connection to PostgreSQL is not encrypted: add ?sslmode=verify-full to DATABASE_URL."
        yield Finding("problem", words, "tls")


def redis(settings: Settings) -> Iterator[Finding]:
    """Check that Redis asks for a password, is encrypted on the network, and never evicts a job."""
    url = urlsplit(settings.redis_url or "")
    if url.scheme == "redis" and (url.hostname or "") not in LOCAL:
        yield Finding(
            "problem", "The connection to Redis is not encrypted: use rediss:// in REDIS_URL.", "tls"
        )
    try:
        policy = queue.redis().info("memory").get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            words = f"Redis may evict jobs and limits (maxmemory-policy {policy}): set it to noeviction."
            yield Finding("problem", words, "redis-memory")
        if url.scheme != "unix" and _is_open(queue.redis()):
            words = "Redis asks for no password: set requirepass, and put the password into REDIS_URL."
            yield Finding("problem", words, "redis-password")
    except RedisError:
        return  # that it cannot be reached is a finding of its own


def _is_open(client: Redis) -> bool:
    """Tell whether Redis answers without a password."""
    given = {
        name: value
        for name, value in client.connection_pool.connection_kwargs.items()
        if name not in ("username", "password")
    }
    pool = client.connection_pool
    stranger = pool.connection_class(**given)
    try:
        stranger.connect()
        stranger.send_command("PING")
        return stranger.read_response() is not None
    except (AuthenticationError, RedisError):
        return False
    finally:
        stranger.disconnect()
