"""A test of a pure rule starts in a second: it loads nothing of the app, the browser, the migrations, and starts no server."""

import subprocess
import sys

from tests.support.stack import ROOT

CODE = """
import sys, pytest
status = pytest.main(["-q", "-p", "no:cacheprovider", "tests/leads/test_rules.py"])
heavy = ("flask", "sqlalchemy", "alembic", "playwright", "schemathesis", "hypothesis", "psycopg", "tests.support.servers")
sys.exit(f"loaded: {loaded}" if (loaded := [name for name in heavy if name in sys.modules]) else status)
"""


def test_pure_rule_test_loads_no_app():
    run = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr
