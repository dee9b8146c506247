"""`make test`: every gate, then every test. Prints one line per gate; the exit status tells.

python -m tests.run [pytest arguments ...]
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

GATES = {
    "style": ["ruff", "check", "-q", "."],
    "form": ["ruff", "format", "--check", "-q", "."],
    "types": ["mypy"],
    "imports": ["lint-imports", "--no-logo"],
}


def main(arguments: list[str]) -> int:
    """Run all gates even when one fails; return 0 when all is well."""
    failed = [name for name, command in GATES.items() if not _run(name, command)]
    # journeys and kills mostly wait: on two cores four processes keep both busy
    workers = os.environ.get("TEST_WORKERS") or str(max(4, os.cpu_count() or 1))
    tests = ["pytest", "-q", "-n", workers, "--dist", "loadgroup", *arguments]
    if not _run("tests", tests, show=True):
        failed.append("tests")
    print("All gates passed." if not failed else f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


def _run(name: str, command: list[str], *, show: bool = False) -> bool:
    started = time.monotonic()
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, check=False, text=True, stdout=None if show else subprocess.PIPE,
        stderr=None if show else subprocess.STDOUT,
    )  # fmt: skip
    word = "ok" if done.returncode == 0 else "FAILED"
    print(f"{name:8} {word:7} {time.monotonic() - started:5.1f} s", flush=True)
    if done.returncode and done.stdout:
        print(done.stdout)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
