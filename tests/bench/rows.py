"""The table of `make bench`: what is measured, beside what, and what it is to reach.

A row names a figure and one of its values (`broadcast_100k.rate`); with a yardstick it is judged by the ratio of the
two within one run, without by the value itself. Figures are functions, registered with `@figure("name")`: those of
the yardsticks in `yardsticks.py`, those of the system in `system.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.pages import PAGES
from tests.bench.servers import Bench

Values = dict[str, Any]
Measure = Callable[[Bench], Values]


@dataclass(frozen=True)
class Figure:
    """How to measure something; `runs` caps the repetitions of what takes long, `slow` has no place in a quick look."""

    measure: Measure
    runs: int | None = None
    slow: bool = False


FIGURES: dict[str, Figure] = {}


def figure(name: str, *, runs: int | None = None, slow: bool = False) -> Callable[[Measure], Measure]:
    """Register the function below as the way to measure `name`."""

    def register(measure: Measure) -> Measure:
        FIGURES[name] = Figure(measure, runs, slow)
        return measure

    return register


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: `value` (over `against`) `at_least` or `at_most` so much; `also` are values shown beside it."""

    name: str
    what: str
    value: str
    unit: str
    against: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    also: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """The figures that must be measured for this row."""
        names = (self.value, *((self.against,) if self.against else ()), *self.also)
        return tuple(dict.fromkeys(name.split(".")[0] for name in names))

    @property
    def target(self) -> str:
        sign, bound = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        return (
            f"{sign} {bound:g} × {self.against.split('.')[0]}"
            if self.against
            else f"{sign} {bound:g} {self.unit}"
        )

    def reached(self, number: float) -> bool:
        return number >= self.at_least if self.at_least is not None else number <= (self.at_most or 0.0)


ROWS = (
    Row(
        name="broadcast",
        what="broadcast of 100,000, launch to all accepted, everything on",
        value="broadcast_100k.rate",
        unit="emails/s",
        against="limit_2.rate",
        at_least=0.4,
    ),
    Row(
        name="broadcast_naive",
        what="the same beside the naive best",
        value="broadcast_100k.rate",
        unit="emails/s",
        against="naive.rate",
        at_least=300,
    ),
    Row(
        name="cpu",
        what="CPU per email, database included",
        value="broadcast_100k.cpu_us",
        unit="µs",
        against="limit_2.cpu_us",
        at_most=3,
    ),
    Row(
        name="broadcast_small",
        what="broadcast of 10,000, launch to all accepted",
        value="broadcast_10k.rate",
        unit="emails/s",
        against="limit_2.rate",
        at_least=0.25,
    ),
    Row(
        name="latency",
        what="broadcast of 100,000, provider answers after 50 ms",
        value="broadcast_50ms.rate",
        unit="emails/s",
        against="broadcast_100k.rate",
        at_least=0.6,
    ),
    Row(
        name="tls",
        what="broadcast of 100,000 over TLS",
        value="broadcast_tls.rate",
        unit="emails/s",
        against="broadcast_100k.rate",
        at_least=0.6,
    ),
    Row(
        name="steps",
        what="100,000 sequence steps due at once (6 steps, 2 languages, 4 zones), due to accepted",
        value="steps_100k.rate",
        unit="emails/s",
        against="limit_2.rate",
        at_least=0.15,
    ),
    Row(
        name="statements",
        what="statements per email, broadcast, 10,000 contacts",
        value="statements.broadcast_10k",
        unit="per email",
        at_most=0.01,
    ),
    Row(
        name="statements_large",
        what="statements per email, broadcast, 1,000,000 contacts",
        value="statements_1m.broadcast",
        unit="per email",
        at_most=0.01,
    ),
    Row(
        name="statements_steps",
        what="statements per email, sequence steps",
        value="statements.steps",
        unit="per email",
        at_most=0.01,
    ),
    Row(
        name="growth",
        what="CPU per email with 1,000,000 contacts, beside 10,000",
        value="growth_1m.cpu_us",
        unit="µs",
        against="growth_10k.cpu_us",
        at_most=1.2,
    ),
    Row(
        name="idle_statements",
        what="idle tick, 1,000,000 enrolments waiting: statements",
        value="idle_tick.statements",
        unit="statements",
        at_most=3,
    ),
    Row(
        name="idle_cpu",
        what="idle tick, 1,000,000 enrolments waiting: CPU",
        value="idle_tick.cpu_ms",
        unit="ms",
        at_most=2,
    ),
    Row(
        name="memory",
        what="peak memory (PSS) of a worker among three of one parent, 1,000,000 recipients",
        value="growth_1m.worker_mb",
        unit="MB",
        at_most=80,
    ),
    Row(
        name="memory_flat",
        what="the same beside 10,000 recipients",
        value="growth_1m.worker_mb",
        unit="MB",
        against="growth_10k.worker_mb",
        at_most=1.1,
    ),
    Row(
        name="first_email",
        what="first email after the launch of 1,000,000",
        value="growth_1m.first_email_s",
        unit="s",
        at_most=1,
    ),
    Row(
        name="confirmation",
        what="confirmation, intake answered to provider called, idle: p99",
        value="confirmation_idle.p99_ms",
        unit="ms",
        against="queue.p50_ms",
        at_most=10,
        also=("confirmation_idle.p50_ms",),
    ),
    Row(
        name="confirmation_busy",
        what="the same while a broadcast of 100,000 runs: p99",
        value="confirmation_busy.p99_ms",
        unit="ms",
        against="queue.p50_ms",
        at_most=50,
        also=("confirmation_busy.p50_ms",),
    ),
    Row(
        name="events",
        what="signed posts of 1,000 events, verified and stored",
        value="events_store.events_rate",
        unit="events/s",
        against="store.events_rate",
        at_least=0.3,
        also=("events_store.p50_ms", "events_store.p99_ms"),
    ),
    Row(
        name="events_p99",
        what="the same: p99 of the post",
        value="events_store.p99_ms",
        unit="ms",
        against="store.p99_ms",
        at_most=round(1 / 0.3, 2),
    ),
    Row(
        name="events_applied",
        what="events applied in the background",
        value="events_apply.rate",
        unit="events/s",
        against="apply.rate",
        at_least=0.5,
    ),
    Row(
        name="opt_out",
        what="opt-out while 100,000 are queued: emails sent later than the batches in flight",
        value="opt_out.late",
        unit="emails",
        at_most=0,
    ),
    Row(
        name="intake",
        what="contact request through gunicorn, consent and audit included, durable",
        value="intake.rate",
        unit="requests/s",
        against="empty_view.rate",
        at_least=0.4,
        also=("intake.p50_ms", "intake.p99_ms"),
    ),
    *(
        Row(
            name=f"page_{page}",
            what=f"console page “{page.replace('_', ' ')}” at 1,000,000 contacts, 1,200,000 leads: p95",
            value=f"pages.large_{page}_ms",
            unit="ms",
            against=f"pages.small_{page}_ms",
            at_most=1.5,
        )
        for page in PAGES
    ),
    Row(
        name="import_memory",
        what="import of 100,000 rows among 100,000 people: peak memory (PSS) of the worker",
        value="imports.worker_mb",
        unit="MB",
        at_most=400,
    ),
    Row(
        name="import_statements",
        what="the same: statements for each thousand rows, beside a file of 10,000",
        value="imports.many_per_thousand",
        unit="statements",
        against="imports.few_per_thousand",
        at_most=1.1,
    ),
    Row(
        name="import_undo",
        what="the same, taken back: rows/s",
        value="imports.undone_per_s",
        unit="rows/s",
        against="imports.rows_per_s",
        at_least=0.5,
    ),
    Row(
        name="export_memory",
        what="export of 100,000 people as Excel: peak memory (PSS) of the worker",
        value="imports.export_mb",
        unit="MB",
        at_most=400,
    ),
)
