"""`make image-test`: build the image with Docker or Podman; it must hold no secret and no tool, and start as its own user."""

import shutil
import subprocess
import sys

from tests.support.stack import ROOT

TAG = "clinic:image-test"
LOOK = """
import os, pathlib, sys
assert os.getuid() == 10001, os.getuid()
names = sorted(path.name for path in pathlib.Path("/app").iterdir())
assert names in (["crm", "jobs", "templates", "wsgi.py"], ["__pycache__", "crm", "jobs", "templates", "wsgi.py"]), names
assert not pathlib.Path("/app/crm/dev").exists()
assert list(pathlib.Path("/app").rglob("*.mo")), "the translations are not compiled"
assert not any(os.access(path, os.W_OK) for path in pathlib.Path("/app").rglob("*"))
assert not list(pathlib.Path("/").glob("app/**/.env*"))
"""


def main() -> int:
    """Build, look inside, and start without settings; return the exit status."""
    tool = shutil.which("docker") or shutil.which("podman")
    if tool is None or subprocess.run([tool, "info"], check=False, capture_output=True).returncode:
        print(
            "Neither Docker nor Podman runs here. tests/production/test_release.py checks the same without them."
        )
        return 1
    subprocess.run([tool, "build", "-q", "-t", TAG, ROOT], check=True)
    locked = (
        "--rm",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--tmpfs=/tmp",
        "--network=none",
    )
    subprocess.run([tool, "run", *locked, TAG, "python", "-c", LOOK], check=True)
    started = subprocess.run([tool, "run", *locked, TAG], check=False, capture_output=True, text=True)
    assert "SECRET_KEY is missing" in started.stderr, started.stderr
    print("The image is as it should be.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
