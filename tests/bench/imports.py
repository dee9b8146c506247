"""Files of 100,000 people: in, back out again, and away as a sheet; by a worker of its own, from upload to done."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crm.exports import service as exports
from crm.imports import service
from crm.imports.rules import LEADS
from tests.bench.clinic import Clinic, clinic
from tests.bench.machine import MIB, PeakMemory
from tests.bench.people import make
from tests.bench.rows import Values, figure
from tests.bench.servers import Bench
from tests.support.browser_client import member

HEADER = "First name,Last name,Email,Phone,Date of birth,State,Message\n"
OPEN = "select exists (select 1 from import_run where state in ('checking', 'importing', 'undoing'))"
ASKED = "select exists (select 1 from export where state = 'asked')"


def sheet(rows: int, *, start: int = 0) -> io.BytesIO:
    """A file of people nobody knows; every tenth row is refused for its phone number."""
    lines = (
        f"Mara,{_name(n)},import{n}@example.test,{'12' if n % 10 == 0 else f'213{200 + n // 10_000}{n % 10_000:04}'},"
        f"19{40 + n % 60}-03-0{1 + n % 9},CA,Please call me in the afternoon ({n})\n"
        for n in range(start, start + rows)
    )
    return io.BytesIO((HEADER + "".join(lines)).encode())


def _name(number: int) -> str:
    return "".join(chr(ord("a") + number // 26**place % 26) for place in range(5)).title()


@figure("imports", runs=1, slow=True)
def imports(bench: Bench) -> Values:
    """Rows/s, statements for each thousand rows, and memory of the worker; 100,000 people are known before."""
    rows = bench.size(100_000)
    with clinic(bench, people=10) as made:
        make(made.sql, people=rows)
        bench.postgres.settle(made.name)
        with made.app.app_context():
            user_id = member("admin").id
        with _worker(bench, made) as pid:
            _take_in(made, sheet(1_000, start=2_000_000), user_id)  # a first file, not measured
            with bench.postgres.statements(made.name) as few:
                _take_in(made, sheet(10_000, start=1_000_000), user_id)
            with bench.postgres.statements(made.name) as many, PeakMemory([pid]) as memory:
                run_id, took = _take_in(made, sheet(rows), user_id)
            undone = _timed(made, lambda: service.request_undo(run_id=run_id), OPEN)
            with PeakMemory([pid]) as away:
                exported = _timed(made, lambda: _ask(user_id), ASKED)
    return {
        "rows_per_s": rows / took,
        "worker_mb": memory.peak / MIB,
        "few_per_thousand": few.total / 10,
        "many_per_thousand": many.total / (rows / 1000),
        "undone_per_s": rows / undone,
        "export_mb": away.peak / MIB,
        "exported_per_s": rows / exported,
    }


@contextmanager
def _worker(bench: Bench, made: Clinic) -> Iterator[int]:
    with bench.running(("-m", "flask", "--app", "wsgi", "worker"), env=made.env) as (process,):
        yield process.pid


def _take_in(made: Clinic, file: io.BytesIO, user_id: int) -> tuple[int, float]:
    """Try a file out and import it; return its id and the seconds the import took."""
    with made.inside():
        run = service.upload(file=file, name="people.csv", kind=LEADS, user_id=user_id)
        run_id, mapping = run.id, dict(run.mapping)
    _timed(made, lambda: service.check(run_id=run_id, mapping=mapping, user_id=user_id), OPEN)
    took = _timed(made, lambda: service.start(run_id=run_id), OPEN)
    (found,) = made.sql("select state, rows, new, errors from import_run where id = %s", (run_id,))
    state, rows, new, errors = found
    if state != "done" or new + errors != rows or errors != -(-rows // 10):
        raise AssertionError(f"The import ended otherwise: {found}")
    return run_id, took


def _timed(made: Clinic, act: Callable[[], object], still: str) -> float:
    began = time.monotonic()
    with made.inside():
        act()
    return made.wait(statement=still, patience=600) - began


def _ask(user_id: int) -> None:
    exports.request_export(
        kind="contacts", form="xlsx", purpose="Measuring how long it takes", clinical=True,
        may_read_clinical=True, user_id=user_id,
    )  # fmt: skip
