"""The commands that take and revoke responsibility for patient mail."""

import pytest
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.core.db import db, transaction
from crm.messages import transports
from crm.messages.rules import STREAMS
from crm.staff import service as staff


@pytest.fixture
def run(outbox, database):
    with transaction():
        for name in ("admin", "viewer"):
            staff.create(email=f"{name}@clinic.example", name=name.title(), roles=[name])
    return database.test_cli_runner().invoke


def route() -> str | None:
    db.session.expire_all()
    return transports.route(STREAMS["transactional_phi"])


def test_take_and_revoke(run, app):
    given = ["mail", "take-responsibility", "sendgrid", "--by", "Admin@clinic.example"]
    assert route() is None
    assert run(app.cli, given, input="n\n").exit_code == 1
    assert route() is None
    assert run(app.cli, [*given, "--yes"]).exit_code == 0
    assert route() == "sendgrid"
    assert "Revoked" in run(app.cli, ["mail", "revoke-responsibility", "sendgrid"]).output
    assert route() is None
    assert "There is no statement" in run(app.cli, ["mail", "revoke-responsibility", "sendgrid"]).output
    actions = list(
        db.session.scalars(
            select(AuditEntry.action).where(AuditEntry.action.like("phi.%")).order_by(AuditEntry.id)
        )
    )
    assert actions == ["phi.attested", "phi.attestation_revoked"]


@pytest.mark.parametrize("email", ["viewer@clinic.example", "nobody@clinic.example"])
def test_only_an_administrator(run, app, email):
    found = run(app.cli, ["mail", "take-responsibility", "sendgrid", "--by", email, "--yes"])
    assert found.exit_code == 1
    assert route() is None
