"""Processes that die, sleep and crowd each other."""

import signal
import time
from datetime import timedelta

from crm.messages.rules import LEASE
from tests.chaos.oracle import arrivals
from tests.chaos.results import Done
from tests.chaos.scenario import broadcast, finish, people, run_kills
from tests.chaos.traffic import StaffSession
from tests.support.stack import Stack, wait_until

_HOW_MANY_IN_DOUBT = "select count(*) from batch where state = 'uncertain'"


def kills(stack: Stack, *, seed: int, kills: int) -> Done:
    """kill -9 of everything at random instants and at every named one, Redis emptied, a moody provider, contact requests."""
    tally = run_kills(stack, seed=seed, kills=kills, flush_every=max(10, kills // 20))
    deaths = ", ".join(f"{count} {name}" for name, count in sorted(tally.deaths.items()))
    said = f"{tally.kills:,} × kill -9 ({deaths}), {tally.flushes} × FLUSHALL, {tally.requests_answered} contact requests"
    return said, finish(stack)


def sleepers(stack: Stack, *, seed: int, kills: int) -> Done:
    """Workers frozen with a batch in hand, past their lease; a person sends it again; then they wake."""
    points = {"worker1": "committed", "worker2": "posted", "worker3": "claimed"}
    end = stack.crowd(workers=1)
    for name, point in points.items():
        stack.kill(name)
        stack.start(name, FAIL_POINT=f"{point}:1:stop")

    def frozen() -> bool:
        """Ring until they are: one planner may take everyone at once, and make fewer batches than there are workers."""
        if all(_is_frozen(stack, name) for name in points):
            return True
        people(stack, 20)
        stack.ring()
        return False

    wait_until(frozen, seconds=60, what="three to freeze", pause=1)
    asleep = time.monotonic()
    stack.commands["worker9"] = stack.commands["worker1"]
    stack.start("worker9")  # one who is awake
    people(stack, 50)
    stack.ring()
    # The one frozen between commit and call must sleep for real: it looks at a clock that nobody can move.
    time.sleep(LEASE.total_seconds() / 2 + 1 - (time.monotonic() - asleep))
    stack.skip(LEASE / timedelta(days=1))

    def doubt() -> bool:
        stack.ring()
        with stack.sql() as database:
            return database.execute(_HOW_MANY_IN_DOUBT).fetchone() != (0,)

    wait_until(doubt, seconds=20, what="the batches in hand to be in doubt")
    before = arrivals(stack)
    with (
        stack.sql() as database
    ):  # whose call was not made yet: what a person finds unconfirmed and sends again
        found = database.execute(
            "select b.id::text from batch b where b.state = 'uncertain' and not exists ("
            "select 1 from message m where m.batch_id = b.id and m.id = any(%s))",
            [list(before)],
        ).fetchall()
    StaffSession(stack).post("/console/mail/decide", decision="again", batch=[one for (one,) in found])
    wait_until(lambda: _left(stack, [one for (one,) in found]), seconds=20, what="them to leave")
    for name in points:
        stack.processes[name].signal(signal.SIGCONT)
    time.sleep(2)
    verdict = finish(stack)
    stack.kill("worker9")
    del stack.commands["worker9"], stack.processes["worker9"]
    end()
    return (
        f"3 workers frozen for {LEASE.total_seconds() / 2:.0f} s, {len(found)} batch sent again meanwhile",
        verdict,
    )


def _is_frozen(stack: Stack, name: str) -> bool:
    with open(f"/proc/{stack.processes[name].pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "T"


def _left(stack: Stack, batches: list[str]) -> bool:
    stack.ring()
    with stack.sql() as database:
        rows = database.execute("select state from batch where id = any(%s::bigint[])", [batches]).fetchall()
    return {state for (state,) in rows} == {"accepted"}


def many_hands(stack: Stack, *, seed: int, kills: int) -> Done:
    """Two schedulers and ten workers on one installation."""
    end = stack.crowd(workers=8, schedulers=1)
    try:
        for _ in range(10):
            people(stack, 100)
            broadcast(stack, 100)
            stack.ring()
            time.sleep(0.5)
        return "10 workers, 2 schedulers", finish(stack)
    finally:
        end()
