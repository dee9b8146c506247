"""The decision of the copy guard as a table, and any interleaving of workers against a model of both places."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from crm.messages.limits import copy_rules
from crm.messages.limits.copy_rules import Difference, Marks

NOW = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
HEALTHY = Marks(
    instance="7301/16384/1",
    place="/data",
    alive_at=NOW - timedelta(seconds=10),
    floor=0,
    newest=500,
    here="7301/16384/1",
    here_place="/data",
    outside=500,
)
FRESH = replace(HEALTHY, instance=None, place=None, alive_at=None, floor=None, newest=0, outside=None)
CASES = [
    ("healthy", HEALTHY, None),
    ("a claim is committed and not yet outside", replace(HEALTHY, newest=501), None),
    ("a new installation", FRESH, None),
    ("a new installation after its first sweep", replace(FRESH, floor=0, outside=0), None),
    ("mail was sent before the first sweep, by workers that died", replace(FRESH, newest=2), None),
    ("an installation of an older release", replace(HEALTHY, place=None, floor=None, newest=0, outside=None), None),
    ("a mark without timeline", replace(HEALTHY, instance="7301/16384"), None),
    ("another server", replace(HEALTHY, here="7302/16384/1"), Difference.SERVER),
    ("another database", replace(HEALTHY, here="7301/16999/1"), Difference.DATABASE),
    ("a later timeline", replace(HEALTHY, here="7301/16384/2"), Difference.TIMELINE),
    ("a timeline that begins with the same digit", replace(HEALTHY, here="7301/16384/11"), Difference.TIMELINE),
    ("another folder", replace(HEALTHY, here_place="/copy"), Difference.PLACE),
    ("a folder inside the marked one", replace(HEALTHY, here_place="/data/copy"), Difference.PLACE),
    ("another address", replace(HEALTHY, place="db:5432", here_place="db:5433"), Difference.PLACE),
    ("a snapshot put back", replace(HEALTHY, outside=501), Difference.OLDER),
    ("a snapshot from before any mail", replace(FRESH, outside=3), Difference.OLDER),
    ("both marks outside lost", replace(HEALTHY, outside=None), Difference.LOST),
    ("both lost before any mail was sent", replace(HEALTHY, newest=0, outside=None), Difference.LOST),
    ("both lost after a release", replace(HEALTHY, floor=900, outside=None), Difference.LOST),
    ("released over a newer mark", replace(HEALTHY, floor=900, outside=501), None),
    ("a snapshot from before a release", replace(HEALTHY, outside=900), Difference.OLDER),
    ("asleep for more than a day", replace(HEALTHY, alive_at=NOW - timedelta(hours=25)), Difference.SILENT),
    ("asleep for less than a day", replace(HEALTHY, alive_at=NOW - timedelta(hours=23)), None),
]  # fmt: skip


@pytest.mark.parametrize(("marks", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_which_mark_differs(marks, expected):
    assert copy_rules.find(marks, now=NOW, guard_silence=True) is expected


def test_silence_counts_in_production_only():
    asleep = replace(HEALTHY, alive_at=NOW - timedelta(days=9))
    assert copy_rules.find(asleep, now=NOW, guard_silence=False) is None


@pytest.mark.parametrize("found", Difference)
def test_each_difference_has_a_reason_in_words(found):
    reason = copy_rules.explain(found, replace(HEALTHY, here_place="/copy"))
    assert reason.endswith(".")
    assert len({copy_rules.explain(one, HEALTHY) for one in Difference}) == len(Difference)


@pytest.mark.parametrize(
    ("found", "alive_at", "expected"),
    [
        (Difference.OLDER, NOW, True),
        (Difference.OLDER, None, True),
        (Difference.LOST, NOW - timedelta(minutes=1), False),
        (Difference.LOST, NOW - timedelta(minutes=3), True),
        (Difference.LOST, None, True),
    ],
)
def test_lost_marks_have_a_while_to_come_back(found, alive_at, expected):
    assert copy_rules.must_hold(found, replace(HEALTHY, alive_at=alive_at), now=NOW) is expected


@pytest.mark.parametrize("outside", [None, 7, 10**17])
def test_a_release_counts_from_above_every_mark(outside):
    floor = copy_rules.next_floor(replace(HEALTHY, outside=outside), now=NOW)
    assert floor >= NOW.timestamp() * 1_000_000
    assert floor > max(HEALTHY.newest, outside or 0)
    assert copy_rules.next_floor(replace(HEALTHY, floor=floor), now=NOW) > floor


@dataclass
class Database:
    """What of PostgreSQL counts here."""

    floor: int | None = None
    given: int = 0  # the last number handed out
    committed: frozenset[int] = frozenset()

    @property
    def newest(self) -> int:
        return max(self.committed, default=0)

    @property
    def known(self) -> int:
        return max(self.floor or 0, self.newest)


@dataclass
class Worker:
    """One worker, and how far it got with its claim."""

    machine: int
    read: int | None = None
    number: int | None = None
    committed: bool = False


WORKERS = st.integers(0, 3)
MACHINES = st.integers(0, 1)


class Installation(RuleBasedStateMachine):
    """Four workers on two machines, in any order; Redis is emptied, files are lost, PostgreSQL crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.database = Database()
        self.redis: int | None = None
        self.files: list[int | None] = [None, None]
        self.workers = [Worker(number % 2) for number in range(4)]
        self.sent: set[int] = set()
        self.saved: Database | None = None
        self.older = False  # the database lacks a claim whose mail was sent

    def outside(self, machine: int) -> int | None:
        known = [number for number in (self.redis, self.files[machine]) if number is not None]
        return max(known, default=None)

    def found(self, outside: int | None) -> Difference | None:
        marks = replace(HEALTHY, floor=self.database.floor, newest=self.database.newest, outside=outside)
        return copy_rules.find(marks, now=NOW, guard_silence=True)

    def raise_outside(self, machine: int, number: int) -> None:
        self.redis = max(number, self.redis or 0)
        self.files[machine] = max(number, self.files[machine] or 0)

    @rule(which=WORKERS)
    def reads(self, which: int) -> None:
        worker = self.workers[which]
        if worker.number is None:
            worker.read = self.outside(worker.machine)
            worker.committed = False

    @rule(which=WORKERS)
    def claims(self, which: int) -> None:
        worker = self.workers[which]
        if worker.number is not None:
            return
        found = self.found(worker.read)
        if not self.older:
            assert found in (None, Difference.LOST), "a healthy database was held"
            assert found is None or worker.read is None
        if found is None:
            self.database.given += 1
            worker.number = self.database.given

    @rule(which=WORKERS)
    def commits(self, which: int) -> None:
        worker = self.workers[which]
        if worker.number is not None and not worker.committed:
            self.database.committed |= {worker.number}
            worker.committed = True

    @rule(which=WORKERS, sends=st.booleans())
    def publishes(self, which: int, *, sends: bool) -> None:
        worker = self.workers[which]
        if worker.number is None or not worker.committed:
            return
        if sends:
            self.raise_outside(worker.machine, worker.number)
            self.sent.add(worker.number)
        self.workers[which] = Worker(worker.machine)

    @rule(which=WORKERS)
    def dies(self, which: int) -> None:
        self.workers[which] = Worker(self.workers[which].machine)

    @rule()
    def postgres_crashes(self) -> None:
        """What was not committed is gone, and its numbers are handed out again."""
        self.database.given = self.database.known
        self.workers = [worker if worker.committed else Worker(worker.machine) for worker in self.workers]

    @rule(machine=MACHINES)
    def sweeps(self, machine: int) -> None:
        outside = self.outside(machine)
        found = self.found(outside)
        if not self.older:
            assert found is None or (found is Difference.LOST and outside is None)
        if found is None:
            self.raise_outside(machine, self.database.known)
            self.database.floor = self.database.floor or 0

    @rule()
    def redis_is_emptied(self) -> None:
        self.redis = None

    @rule(machine=MACHINES)
    def file_is_lost(self, machine: int) -> None:
        self.files[machine] = None

    @rule()
    def snapshot_is_taken(self) -> None:
        self.saved = replace(self.database)

    @rule()
    def snapshot_is_put_back(self) -> None:
        if self.saved is None:
            return
        self.database = replace(self.saved, given=self.saved.known)
        self.workers = [Worker(worker.machine) for worker in self.workers]
        self.older = max(self.sent, default=0) > self.database.known

    @rule(machine=MACHINES)
    def staff_release(self, machine: int) -> None:
        marks = replace(
            HEALTHY, floor=self.database.floor, newest=self.database.newest, outside=self.outside(machine)
        )
        floor = copy_rules.next_floor(marks, now=NOW)
        self.database.floor = self.database.given = floor
        self.raise_outside(machine, floor)
        self.sent.clear()
        self.saved, self.older = None, False

    @invariant()
    def an_older_database_sends_nothing(self) -> None:
        for machine in (0, 1):
            outside = self.outside(machine)
            knows = outside is not None and outside >= max(self.sent, default=0)
            if self.older and knows:
                assert self.found(outside) is Difference.OLDER

    @invariant()
    def one_place_is_enough(self) -> None:
        if not self.older and self.redis is not None:
            assert self.found(self.redis) is None


def test_any_interleaving_of_workers():
    run_state_machine_as_test(
        Installation, settings=settings(max_examples=60, stateful_step_count=40, deadline=None, database=None)
    )
