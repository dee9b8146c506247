"""`make chaos`: the long run. python -m tests.chaos [--kills N] [--seed S] [--only NAME]"""

import argparse
import json
import logging
import sys
import time
import traceback
from dataclasses import asdict

import structlog

from tests.chaos.oracle import watch
from tests.chaos.results import Result, Skipped
from tests.chaos.scenarios import SCENARIOS
from tests.support.stack import ROOT, running_stack


def main() -> int:
    """Run every scenario on a fresh installation; print a table and keep JSON lines in .local/chaos."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--kills", type=int, default=1_000, help="in the killing play")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, help="run these")
    parser.add_argument("--list", action="store_true")
    asked = parser.parse_args()
    if asked.list:
        print(
            "\n".join(f"{name:16} {scenario.__doc__.splitlines()[0]}" for name, scenario in SCENARIOS.items())
        )
        return 0
    # what the harness itself could not do just then, such as ringing while Redis was dead, is part of the play
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder = ROOT / ".local" / "chaos"
    folder.mkdir(parents=True, exist_ok=True)
    lines = (folder / f"{time.strftime('%Y%m%d-%H%M%S')}.jsonl").open("w")
    print(
        f"| what | done | sent | lost | twice | may not | in doubt | {'verdict':8} |\n|---|---|---|---|---|---|---|---|"
    )
    bad = 0
    for name, scenario in SCENARIOS.items():
        if asked.only and name not in asked.only:
            continue
        result = _run(name, scenario, asked)
        bad += not result.well
        print(result.row(), flush=True)
        lines.write(json.dumps({"seed": asked.seed, **asdict(result)}, default=str) + "\n")
        lines.flush()
    lines.close()
    return 1 if bad else 0


def _run(name: str, scenario, asked: argparse.Namespace) -> Result:
    started = time.monotonic()
    verdict, skipped = None, False
    try:
        with running_stack() as ours:
            watch(ours)
            try:
                done, verdict = scenario(ours, seed=asked.seed, kills=asked.kills)
            except Exception:
                (ROOT / ".local" / "chaos" / f"{name}.log").write_text(ours.logs())
                raise
    except Skipped as reason:
        done, skipped = str(reason), True
    except Exception as error:
        done = f"{type(error).__name__}: {error}"
        if not isinstance(error, TimeoutError | AssertionError):
            traceback.print_exc()
    if verdict is not None and not verdict.well:
        print(verdict, file=sys.stderr)
    return Result(name=name, done=done, verdict=verdict, seconds=time.monotonic() - started, skipped=skipped)


if __name__ == "__main__":
    sys.exit(main())
