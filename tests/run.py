"""`make test`: every gate of `make check`, then every test. The exit status tells.

python -m tests.run [pytest arguments ...]
"""

import os
import subprocess
import sys
import time

from tests.check import BIN, GATES, ROOT, failing, report


def main(arguments: list[str]) -> int:
    """Run everything even when a part fails; return 0 when all is well."""
    failed = failing(list(GATES))
    if _run_tests(arguments):
        failed.append("tests")
    print("All gates passed." if not failed else f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


def _run_tests(arguments: list[str]) -> int:
    started = time.monotonic()
    # journeys and kills mostly wait: on two cores four processes keep both busy
    workers = os.environ.get("TEST_WORKERS") or str(max(4, os.cpu_count() or 1))
    command = [BIN / "pytest", "-q", "-n", workers, "--dist", "loadgroup", *arguments]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    report("tests", status, started)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
