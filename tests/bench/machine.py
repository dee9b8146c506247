"""What the machine spent: CPU of whole process trees, memory at its peak, and what strangers took meanwhile."""

import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024


def _stat(pid: int) -> tuple[int, int, int] | None:
    """Return (parent, own ticks, ticks of reaped children) of one process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    part = text[text.rindex(")") + 2 :].split()
    return int(part[1]), int(part[11]) + int(part[12]), int(part[13]) + int(part[14])


def tree(roots: Iterable[int]) -> dict[int, tuple[int, int, int]]:
    """Return every live process at or below `roots` with its stat."""
    every = {
        pid: stat for name in os.listdir("/proc") if name.isdigit() and (stat := _stat(pid := int(name)))
    }
    below: dict[int, list[int]] = {}
    for pid, (parent, _, _) in every.items():
        below.setdefault(parent, []).append(pid)
    found, todo = {}, list(roots)
    while todo:
        pid = todo.pop()
        if pid in every and pid not in found:
            found[pid] = every[pid]
            todo += below.get(pid, [])
    return found


def cpu_seconds(roots: Iterable[int]) -> float:
    """Return the CPU seconds of the trees under `roots`, reaped descendants included.

    A process that ends between two looks could count twice, so look until two looks agree on who lives.
    """
    roots = list(roots)
    before = tree(roots)
    for _ in range(20):
        after = tree(roots)
        if {p: s[2] for p, s in before.items()} == {p: s[2] for p, s in after.items()}:
            break
        before = after
    return sum(own + reaped for _, own, reaped in after.values()) / TICK


def busy_seconds() -> float:
    """Return the CPU seconds that the whole machine has spent since it started."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / TICK


@dataclass
class Meter:
    """CPU by group of process trees over a `with` block; `foreign` is what no group of ours spent."""

    groups: dict[str, list[int]]
    ours: list[int] = field(default_factory=lambda: [os.getpid()])
    spent: dict[str, float] = field(default_factory=dict)
    wall: float = 0.0
    foreign: float = 0.0

    def __enter__(self) -> "Meter":
        self._before = self._read()
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.monotonic() - self._began
        after = self._read()
        change = {name: after[name] - self._before[name] for name in after}
        self.foreign = max(0.0, change.pop("_busy") - change.pop("_ours"))
        self.spent = change

    @property
    def total(self) -> float:
        return sum(self.spent.values())

    def _read(self) -> dict[str, float]:
        read = {name: cpu_seconds(pids) for name, pids in self.groups.items()}
        everyone = {pid for pids in self.groups.values() for pid in pids} | set(self.ours)
        return read | {"_ours": cpu_seconds(everyone), "_busy": busy_seconds()}


def pss_bytes(roots: Iterable[int]) -> int:
    """Return the proportional set size of the trees under `roots` now."""
    total = 0
    for pid in tree(roots):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total


class PeakMemory:
    """Sample the PSS of one or more processes in the background; `peak` is the most one sample saw, in bytes."""

    def __init__(self, roots: Iterable[int], *, every: float = 0.1) -> None:
        self.roots, self.every, self.peak, self.samples = list(roots), every, 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.peak = max(self.peak, pss_bytes(self.roots))
            self.samples += 1
            if self._stop.wait(self.every):
                return


def cores(count: int) -> tuple[set[int], set[int]]:
    """Split this process's CPUs: `count` for what is measured, the rest for sinks and load generators.

    With no more CPUs than that (or `count` 0) both share all of them.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if not 0 < count < len(allowed):
        return set(allowed), set(allowed)
    return set(allowed[:count]), set(allowed[count:])


def pin(roots: Iterable[int], cpus: set[int]) -> None:
    """Let the processes under `roots`, and all that they start from now on, run on `cpus` only."""
    for pid in tree(roots):
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(task), cpus)


def facts() -> dict[str, object]:
    """Describe the machine and the commit, for the head of the result file."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "cpu": model[0].split(":")[1].strip() if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "load_average": os.getloadavg(),
    }
