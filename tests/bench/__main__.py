"""`python -m tests.bench`: measure, judge, keep the numbers."""

import argparse
import contextlib
import datetime as dt
import fcntl
import importlib.util
import json
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench import report, yardsticks  # noqa: F401 - importing registers the yardsticks
from tests.bench.machine import facts
from tests.bench.rows import FIGURES, ROWS, Row
from tests.bench.servers import ROOT, SETTINGS, Bench


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Speed beside yardsticks of the same run."
    )
    parser.add_argument(
        "--rows", default="", help="names of rows or figures, with commas between; default: all rows"
    )
    parser.add_argument("--runs", type=int, default=3, help="how often each figure is measured")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the size and one run: a look, not a result"
    )
    parser.add_argument("--share", type=float, help="how much of the full size, such as 0.01")
    parser.add_argument("--without", default="", help="figures to leave out, with commas between")
    parser.add_argument("--folder", type=Path, default=ROOT / ".local/bench", help="for servers and numbers")
    parser.add_argument(
        "--cores", type=int, default=2, help="CPUs for what is measured; 0: all, shared with the sink"
    )
    parser.add_argument("--list", action="store_true", help="show the names and stop")
    return parser.parse_args()


def choose(names: str, *, without: str = "", quick: bool = False) -> tuple[list[Row], list[str]]:
    """Return the rows to judge and the figures to measure for them, in an order that keeps yardsticks near.

    A quick look leaves out what takes long whatever the size, unless it is asked for.
    """
    left_out = {name for name in without.split(",") if name}
    if not names:
        left_out |= {name for name, figure in FIGURES.items() if quick and figure.slow}
    rows, figures = _named(names)
    return (
        [row for row in rows if not left_out & set(row.needs)],
        [name for name in figures if name not in left_out],
    )


def _named(names: str) -> tuple[list[Row], list[str]]:
    wanted = [name for name in names.split(",") if name]
    known = {row.name: row for row in ROWS}
    if unknown := [name for name in wanted if name not in known and name not in FIGURES]:
        sys.exit(f"Nothing is called {', '.join(unknown)}. `--list` shows the names.")
    rows = [known[name] for name in wanted if name in known] if wanted else list(ROWS)
    figures = [name for name in wanted if name in FIGURES]
    figures += [
        name for row in rows for name in row.needs if name in FIGURES and row.value.split(".")[0] in FIGURES
    ]
    return rows, list(dict.fromkeys(figures)) if wanted else list(FIGURES)


def measure(bench: Bench, name: str) -> dict[str, Any]:
    """Measure one figure; an error is a result too, and is shown."""
    print(f"  {name:20}", end="", flush=True, file=sys.stderr)
    began = time.monotonic()
    try:
        values = FIGURES[name].measure(bench)
    except Exception as error:
        traceback.print_exc()
        values = {"error": f"{type(error).__name__}: {error}"}
    print(f" {time.monotonic() - began:6.1f} s", file=sys.stderr)
    return values


def run(bench: Bench, figures: list[str], *, runs: int, keep: Any) -> report.Runs:
    """Measure everything `runs` times, one whole run after the other."""
    found: report.Runs = []
    for number in range(runs):
        print(f"Run {number + 1} of {runs}", file=sys.stderr)
        found.append({})
        for name in figures:
            if FIGURES[name].runs is None or number < FIGURES[name].runs:
                found[-1][name] = measure(bench, name)
                keep({"kind": "figure", "run": number + 1, "figure": name, **found[-1][name]})
    return found


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else measures in this folder meanwhile: two would share servers, and measure each other."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"Something else is being measured in {folder}. Wait for it, or name another --folder.")
        yield


def main() -> int:
    given = options()
    if importlib.util.find_spec("tests.bench.system"):
        importlib.import_module("tests.bench.system")
        importlib.import_module("tests.bench.people")
        importlib.import_module("tests.bench.imports")
    if given.list:
        print("\n".join(f"{row.name:18} {row.what}" for row in ROWS))
        print("\nFigures: " + ", ".join(FIGURES))
        return 0
    rows, figures = choose(given.rows, without=given.without, quick=given.quick)
    folder = given.folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H%M%SZ}.jsonl"
    with (
        alone(folder),
        path.open("w") as file,
        Bench(folder, quick=given.quick, share=given.share, core_count=given.cores) as bench,
    ):

        def keep(record: dict[str, Any]) -> None:
            file.write(json.dumps(record, default=str) + "\n")
            file.flush()

        about = facts() | {
            "measured_cpus": sorted(bench.inside),
            "postgres": bench.postgres.version,
            **SETTINGS,
        }
        keep({"kind": "machine", "quick": given.quick, **about})
        found = run(bench, figures, runs=1 if given.quick else given.runs, keep=keep)
        judged = [report.judge(found, row) for row in rows]
        for one in judged:
            keep(
                {
                    "kind": "row",
                    "name": one["row"].name,
                    **{key: str(one[key]) for key in ("value", "ratio", "verdict")},
                }
            )
    print_result(found, rows, about=about, path=path)
    return any("error" in values for each in found for values in each.values())


def print_result(found: report.Runs, rows: list[Row], *, about: dict[str, Any], path: Path) -> None:
    if any(found):
        print(report.figure_table(found), end="\n\n")
    if rows:
        print(report.result_table(found, rows), end="\n\n")
    print(
        f"{about['cpu']}, {len(about['measured_cpus'])} cores for what is measured, {about['memory_gib']} GiB; "
        f"Python {about['python']}, PostgreSQL {about['postgres']}, durable; {dt.datetime.now(dt.UTC):%Y-%m-%d}; "
        f"commit {about['commit']}. Numbers: {path}"
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
    sys.exit(main())
