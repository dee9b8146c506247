"""Rotation of keys: nothing stays under an old key, a stopped run goes on, and a key retires when nothing needs it."""

import os
from contextlib import contextmanager
from dataclasses import replace

import pytest
from flask_security import Totp
from sqlalchemy import LargeBinary, inspect, text

from crm.audit import acts
from crm.audit import service as audit
from crm.core import crypto
from crm.core.db import Base, Encrypted, db
from crm.core.field_keys import FieldKeys
from crm.ops import keys
from crm.staff.sign_in.setup import OnceTotp, totp_secrets
from tests.support import factories
from tests.support.browser_client import member

OLD, NEW = ("t1", b"t" * 32), ("n2", b"n" * 32)


@contextmanager
def keyring(app, *ring, index_key=None):
    """The app with these keys."""
    kept, settings = app.services.field_keys, app.settings
    app.services.field_keys = FieldKeys(ring, index_key=index_key)
    app.settings = replace(settings, field_keys=ring, index_key=index_key)
    security, factory = app.extensions["security"], app.extensions["security"]._totp_factory
    security._totp_factory = OnceTotp(totp_secrets(ring), "Clinic")
    try:
        yield
    finally:
        app.services.field_keys, app.settings, security._totp_factory = kept, settings, factory


@pytest.fixture
def people(database):
    return [factories.contact(f"p{number}@x.example", phone=f"+1555010{number:04}") for number in range(3)]


def test_every_encrypted_column_is_known(app):
    names = {place.name for place in keys.places()}
    assert {"contact.phone", "export_part.content", "import_part.content", "webhook_receipt.body"} <= names
    columns = [column for table in Base.metadata.sorted_tables for column in table.columns]
    assert {str(column) for column in columns if isinstance(column.type, Encrypted)} <= names


def test_bytes_that_are_not_hashes_are_declared(app):
    """A column of bytes is an index, a hash, a proof or a key; any other is encrypted, and says so."""
    plain = (
        "_index", "hash", "digest", "mac", "proof", "credential_id", "public_key", "secret_try.key", "fax_key",
        "clinic_logo.content",  # shown to everyone
    )  # fmt: skip
    columns = [column for table in Base.metadata.sorted_tables for column in table.columns]
    bare = [
        str(column)
        for column in columns
        if type(column.type) is LargeBinary and not column.info.get("encrypted")
    ]
    assert [name for name in bare if not name.endswith(plain)] == []


def test_rotation(app, people):
    before = [person.phone for person in people]
    with keyring(app, NEW, OLD):
        assert keys.count()["contact.phone"]["t1"] == 3
        list(keys.rotate())
        assert keys.count()["contact.phone"] == {"n2": 3}
        assert list(keys.rotate()) == []  # a second run finds nothing
    index_key = FieldKeys([OLD]).index_key
    with keyring(app, NEW, index_key=index_key):
        db.session.expire_all()
        assert [person.phone for person in people] == before
        assert crypto.blind_index("phone", "x") == FieldKeys([OLD]).blind_index("phone", "x")


def test_a_stopped_run_goes_on(app, people, monkeypatch):
    monkeypatch.setattr(keys, "SLICE", 1)
    with keyring(app, NEW, OLD):
        run = keys.rotate()
        while next(run)[0] != "contact.phone":
            pass
        run.close()  # after one of three
        list(keys.rotate())
        assert keys.count()["contact.phone"] == {"n2": 3}


def test_an_act_can_be_undone_after_a_rotation(app, people):
    person = people[0]
    for phone in ("+15550109001", "+15550109002"):  # the image before the second is the image after the first
        with audit.acting("staff:1"), acts.begin("contact.edit") as act:
            person.phone = phone
    with keyring(app, NEW, OLD, index_key=FieldKeys([OLD]).index_key):
        list(keys.rotate())
        assert "undo" in keys.obstacles("t1")[0]
        assert keys.rotate_images() == 2
        assert keys.rotate_images() == 0
    with keyring(app, NEW, index_key=FieldKeys([OLD]).index_key), audit.acting("staff:1"):
        for number, phone in ((act.id, "+15550109001"), (act.id - 1, "+15550100000")):
            acts.undo(number)
            db.session.refresh(person)
            assert person.phone == phone


def test_a_signed_testimonial_is_encrypted_anew(app, people):
    insert = """insert into content_authorization (person, kept_at, language, words, signed_on, ends_on, stated,
        recorded_by, recorded_at) values (:sealed, :sealed, 'en', 'Kind staff.', '2026-01-01', '2027-01-01', '{}', 'x', now())"""
    columns = {
        column["name"] for column in inspect(db.session.connection()).get_columns("content_authorization")
    }
    assert {"person", "kept_at"} <= columns
    db.session.execute(text(insert), {"sealed": crypto.encrypt(b"Pat")})
    with keyring(app, NEW, OLD):
        list(keys.rotate())
        assert keys.count()["content_authorization.person"] == {"n2": 1}


def test_second_factors(app, people):
    user = member("admin")
    old = OnceTotp({"0": next(iter(totp_secrets([OLD]).values()))}, "Clinic")
    user.tf_totp_secret = old.generate_totp_secret()
    db.session.flush()
    with keyring(app, NEW, OLD):
        assert keys.rotate_second_factors() == 1
        assert keys.rotate_second_factors() == 0
    assert isinstance(OnceTotp(totp_secrets([NEW]), "Clinic"), Totp)
    assert OnceTotp(totp_secrets([NEW]), "Clinic").encrypt_again(user.tf_totp_secret) is None


def test_retirement(app, people):
    with keyring(app, NEW, OLD):
        assert len(keys.obstacles("t1")) == 2  # makes the indexes, and has values
        list(keys.rotate())
        assert len(keys.obstacles("t1")) == 1
    with keyring(app, NEW, OLD, index_key=os.urandom(32)):
        assert keys.obstacles("t1") == []
        assert "newest" in keys.obstacles("n2")[0]


def test_commands(app, database, people):
    run = database.test_cli_runner().invoke
    with keyring(app, NEW, OLD):
        assert "t1: 3" in run(args=["keys", "status"]).output
        assert "values encrypted" in run(args=["keys", "rotate"]).output
        assert run(args=["keys", "retire", "t1"]).exit_code == 1
        assert len(run(args=["keys", "index-key"]).output.strip()) == 44
    with keyring(app, NEW, index_key=os.urandom(32)):
        assert run(args=["keys", "retire", "t1"]).exit_code == 0
    with keyring(app, ("z9", b"z" * 32), index_key=os.urandom(32)):
        assert "missing key" in run(args=["keys", "rotate"]).output
