"""Diagnostics of the servers: too many rights, open connections, a Redis that evicts."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from crm.core.db import db
from crm.ops import server_checks


def codes(found):
    return [finding.code for finding in found]


@pytest.fixture
def service_role(database):
    """A role of its own, as which the rest of the test runs."""
    db.session.execute(text("create role checked_app"))
    db.session.execute(
        text("grant select, insert, update, delete on all tables in schema public to checked_app")
    )
    db.session.execute(text("revoke create on schema public from public"))

    def act(*grants: str):
        for grant in grants:
            db.session.execute(text(grant))
        db.session.execute(text("set local role checked_app"))
        return list(server_checks.database(database.settings))

    return act


GUARDED = "audit_entry, audit_link, consent_record, sequence_version, content_approval, stage_move"


def test_superuser(database):
    assert codes(server_checks.database(database.settings)) == ["rights"]


def test_a_role_that_can_change_evidence(service_role):
    (finding,) = service_role()
    assert "audit_entry" in finding.text


def test_a_role_that_can_create(service_role):
    (finding,) = service_role(
        f"revoke update, delete on {GUARDED} from checked_app", "grant create on schema public to checked_app"
    )
    assert "create" in finding.text


def test_the_role_of_the_service(service_role):
    assert service_role(f"revoke update, delete on {GUARDED} from checked_app") == []


def test_connections_over_the_network(service_role, database):
    far = replace(database.settings, database_url="postgresql+psycopg://clinic@db.internal/clinic")
    service_role(f"revoke update, delete on {GUARDED} from checked_app")
    assert codes(server_checks.database(far)) == ["tls"]


def test_redis(database, redis):
    far = replace(database.settings, redis_url="redis://redis.internal/0")
    assert codes(server_checks.redis(far)) == ["tls", "redis-password"]
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert codes(server_checks.redis(database.settings)) == ["redis-memory"]
    finally:
        redis.config_set("maxmemory-policy", "noeviction")


def test_only_in_production(app):
    assert list(server_checks.findings(app.settings)) == []
