"""The built release and one installation of it. They need real servers: `.ci/real-servers .venv/bin/pytest tests/production`."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.production import release
from tests.production.installation import installed


@pytest.fixture(scope="session")
def installation():
    """An installation whose processes do not run yet."""
    if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
        pytest.skip("Needs real servers: .ci/real-servers .venv/bin/pytest tests/production")
    if shutil.which("nginx") is None:
        if os.environ.get("CI"):
            pytest.fail("nginx is missing; in CI that is a failure.")
        pytest.skip("nginx is not installed here.")
    folder = Path(tempfile.mkdtemp(prefix="production-"))
    try:
        with installed(folder, release.build(folder)) as ours:
            yield ours
    finally:
        shutil.rmtree(folder, ignore_errors=True)
