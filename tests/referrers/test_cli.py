"""Keys made, shown and revoked at the command line."""

from crm.core.db import db, transaction
from crm.referrers import service
from crm.referrers.cli import api_key
from crm.referrers.service import Sender
from crm.staff.keys import api_keys
from crm.staff.models import ApiKey


def run(app, *arguments):
    return app.test_cli_runner().invoke(api_key, arguments)


def test_made_shown_once_listed_and_revoked(database):
    made = run(database, "create", "Website", "--scope", "contact-requests:write")
    assert made.exit_code == 0
    plain = made.stdout.strip()
    assert api_keys.find(plain).scopes == {"contact-requests:write"}
    listed = run(database, "list").stdout
    assert plain not in listed
    assert "Website" in listed
    assert "not used yet" in listed or "used " in listed
    number = str(api_keys.every()[0].id)
    assert run(database, "revoke", number).exit_code == 0
    assert api_keys.find(plain) is None
    assert "revoked" in run(database, "list").stdout
    assert "already revoked" in run(database, "revoke", number).stderr
    assert "Key not found" in run(database, "revoke", "0").stderr


def test_for_one_practice(database):
    with transaction():
        clinician = service.find_or_create(
            sender=Sender(clinician="Lee", npi="1234567893", practice="Hillside")
        )
        practice_id = clinician.practice_id
    assert (
        run(database, "create", "EHR", "--scope", "referrals:write", "--practice-npi", "1234567893").exit_code
        == 0
    )
    assert db.session.query(ApiKey.practice_id).scalar() == practice_id
    for scope in sorted(set(api_keys.SCOPES) - api_keys.PRACTICE_SCOPES):
        refused = run(database, "create", "EHR", "--scope", scope, "--practice-npi", "1234567893")
        assert "the clinic's own" in refused.stderr, scope


def test_refused(database):
    assert (
        "No clinician"
        in run(database, "create", "X", "--scope", "leads:read", "--practice-npi", "1558598797").stderr
    )
    assert "name" in run(database, "create", " ", "--scope", "leads:read").stderr
    assert run(database, "create", "X", "--scope", "everything").exit_code == 2
    assert run(database, "create", "X").exit_code == 2
