"""`make test`: every gate of `make check`, then every test. The exit status tells.

python -m tests.run [pytest arguments ...]
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.check import BIN, GATES, ROOT, failing, report


def main(arguments: list[str]) -> int:
    """Run everything even when a part fails; return 0 when all is well."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with _prepared(environment):
        failed = failing(list(GATES))
    if _run_tests(arguments, environment):
        failed.append("tests")
    print("All gates passed." if not failed else f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


@contextmanager
def _prepared(environment: dict[str, str]) -> Iterator[None]:
    """Compile the tests beside the gates: else each of the test processes would, at the same moment."""
    command = [BIN / "pytest", "-q", "--collect-only"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL):
        yield


def _run_tests(arguments: list[str], environment: dict[str, str]) -> int:
    started = time.monotonic()
    # journeys and kills mostly wait: on two cores four processes keep both busy
    workers = os.environ.get("TEST_WORKERS") or str(max(4, os.cpu_count() or 1))
    command = [BIN / "pytest", "-q", "-n", workers, "--dist", "loadgroup", *arguments]
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    report("tests", status, started)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
