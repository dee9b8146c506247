"""`make check`: style, form, types, import contracts, words and dependencies, side by side. One line per gate.

python -m tests.check [gate ...]     exit status 1 when a gate fails
"""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

GATES = {
    "types": ["mypy"],  # the slowest starts first
    "style": ["ruff", "check", "-q", "."],
    "form": ["ruff", "format", "--check", "-q", "."],
    "contracts": ["lint-imports", "--no-logo"],
    "words": ["python", "-m", "tests.words"],
    "packages": ["deptry", "--no-ansi", "."],
}


def main(names: list[str]) -> int:
    """Run the named gates, or all; return 1 when one fails."""
    failed = failing(names or list(GATES))
    print("All gates passed." if not failed else f"Failed: {', '.join(failed)}.")
    return 1 if failed else 0


def failing(names: list[str]) -> list[str]:
    """Run gates side by side, also when one fails; return the names of those that do."""
    with ThreadPoolExecutor(len(names)) as pool:
        passed = list(pool.map(_passes, names))
    return [name for name, fine in zip(names, passed, strict=True) if not fine]


def _passes(name: str) -> bool:
    started = time.monotonic()
    program, *arguments = GATES[name]
    done = subprocess.run(
        [BIN / program, *arguments], cwd=ROOT, check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    report(name, done.returncode, started)
    if done.returncode:
        print(done.stdout, flush=True)
    return done.returncode == 0


def report(name: str, status: int, started: float) -> None:
    """Print one line: what ran, how it ended, how long it took."""
    print(f"{name:10} {'ok' if status == 0 else 'FAILED':7} {time.monotonic() - started:5.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
