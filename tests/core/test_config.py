"""Settings: production refuses to start with missing or weak ones, and names them."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from crm.core import config

WHOLE = {
    "CRM_MODE": "production",
    "SECRET_KEY": "k" * 40,
    "FIELD_KEYS": "k1:" + base64.b64encode(b"f" * 32).decode(),
    "AUDIT_KEYS": "a1:" + base64.b64encode(b"a" * 32).decode(),
    "PUBLIC_URL": "https://clinic.test",
    "DATABASE_URL": "postgresql://clinic@db/clinic",
    "REDIS_URL": "redis://redis/0",
    "SENDGRID_API_KEY": "SG.x",
    "SENDGRID_WEBHOOK_KEY": "key",
    "CLINIC_NAME": "Clinic",
    "CLINIC_PHONE": "+1 555 010 0100",
    "CLINIC_ADDRESS": "1 Main Street",
    "CLINIC_FROM_EMAIL": "news@clinic.test",
    "CLINIC_TIME_ZONE": "America/Denver",
    "TRUSTED_PROXIES": "1",
    "METRICS_TOKEN": "m" * 24,
}


def test_complete_settings():
    settings = config.load(WHOLE)
    assert settings.production
    assert settings.secure
    assert settings.database_url == "postgresql+psycopg://clinic@db/clinic"
    assert settings.sendgrid_url == "https://api.sendgrid.com"


@pytest.mark.parametrize(
    "name", sorted(name for name in WHOLE if not name.startswith(("CRM_MODE", "CLINIC_")))
)
def test_each_missing_variable_is_named(name):
    with pytest.raises(config.ConfigError, match=f"{name}"):
        config.load({key: value for key, value in WHOLE.items() if key != name})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"PUBLIC_URL": "http://clinic.test"}, "https"),
        ({"SECRET_KEY": "short"}, "32 characters"),
        ({"SECRET_KEY": "change-me-change-me-change-me-change-me"}, "default"),
        ({"FIELD_KEYS": "k1:short"}, "FIELD_KEYS"),
        ({"FIELD_KEYS": "k1:" + base64.b64encode(b"x").decode()}, "32 bytes"),
        ({"FIELD_KEYS": "clé:" + base64.b64encode(b"x" * 32).decode()}, "letters and digits"),
        ({"FIELD_KEYS": ",".join(["k1:" + base64.b64encode(b"x" * 32).decode()] * 2)}, "same id"),
        ({"AUDIT_KEYS": "a1"}, "AUDIT_KEYS"),
        ({"CLINIC_TIME_ZONE": "Mars/Base"}, "CLINIC_TIME_ZONE"),
        ({"CLINIC_NAME": "a\r\nBcc: x"}, "one line"),
        ({"PORT": "eighty"}, "PORT"),
        ({"METRICS_TOKEN": "short"}, "METRICS_TOKEN"),
        ({"TRUSTED_PROXIES": "-1"}, "TRUSTED_PROXIES"),
    ],
)
def test_weak_or_invalid_settings(change, words):
    with pytest.raises(config.ConfigError, match=words):
        config.load(WHOLE | change)


def test_gaps_of_the_environment_are_filled_by_the_console():
    given = {name: value for name, value in WHOLE.items() if name not in ("CLINIC_NAME", "CLINIC_ADDRESS")}
    settings = config.load(given)
    assert (settings.clinic_gaps, settings.clinic.name) == (("name", "address"), "")
    stored = {"name": "Bay Clinic", "address": "2 Main Street", "phone": "another"}
    settings = config.with_clinic(settings, stored)
    assert settings.clinic_gaps == ()
    assert (settings.clinic.name, settings.clinic.phone) == ("Bay Clinic", WHOLE["CLINIC_PHONE"])


def test_public_address_is_production():
    with pytest.raises(config.ConfigError, match="SECRET_KEY"):
        config.load({"PUBLIC_URL": "https://clinic.test"})


def test_one_machine_needs_nothing(tmp_path):
    settings = config.load({"LOCAL_DIR": str(tmp_path)})
    assert not settings.production
    assert settings == config.load({"LOCAL_DIR": str(tmp_path)})  # its secrets are made once
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0


def test_concurrent_starts_share_secrets(tmp_path):
    with ThreadPoolExecutor(8) as many:
        found = list(many.map(lambda _: config._local_secrets(tmp_path / "new"), range(64)))
    assert len({one["SECRET_KEY"] for one in found}) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["secrets.json"]
    assert (tmp_path / "new" / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_secrets_from_files(tmp_path):
    (tmp_path / "key").write_text("s" * 40 + "\n")
    given = {name: value for name, value in WHOLE.items() if name != "SECRET_KEY"}
    settings = config.load({**given, "SECRET_KEY_FILE": str(tmp_path / "key")})
    assert settings.secret_keys == ("s" * 40,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"SMTP_URL_FILE": "/nowhere/url"}, "SMTP_URL_FILE: /nowhere/url cannot be read"),
        ({"SECRET_KEY_FILE": "/dev/null"}, "both set"),
    ],
)
def test_secret_files_that_cannot_serve(change, words):
    with pytest.raises(config.ConfigError, match=words):
        config.load(WHOLE | change)
