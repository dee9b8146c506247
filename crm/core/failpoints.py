"""Fail points: places where a fault test kills or freezes this process, to show that nothing is lost. Off in production.

A point is armed for the whole process, not for one app, because the signal kills or freezes the whole process.
"""

import os
import signal
from dataclasses import dataclass

POINTS = (
    "before-claim",
    "claimed",  # inside the claiming transaction, before its commit
    "committed",  # the batch is `sending`, the provider has not been called
    "posted",  # the provider has answered, nothing is recorded
    "recorded",  # inside the recording transaction, before its commit
    "done",
    "planned",  # inside the planner's transaction
    "frozen",  # inside the freezing of an audience
    "applied",  # inside the applying of events
)


@dataclass
class _Armed:
    point: str = ""
    passes: int = 0
    signal: int = signal.SIGKILL


_armed = _Armed()


def arm(spec: str | None) -> None:
    """Arm one point: "posted" kills at the first pass, "posted:3" at the third, "posted:3:stop" freezes (SIGSTOP).

    None disarms.
    """
    point, passes, action = [*(spec or "").split(":"), "", ""][:3]
    if point and point not in POINTS:
        raise ValueError(f"There is no fail point called {point}.")
    _armed.point, _armed.passes = point, int(passes or 1)
    _armed.signal = signal.SIGSTOP if action == "stop" else signal.SIGKILL


def failpoint(point: str) -> None:
    """End the process here, as a power failure would, when this point is armed for this pass."""
    if _armed.point == point:
        _armed.passes -= 1
        if _armed.passes == 0:
            os.kill(os.getpid(), _armed.signal)
