"""Faults that the sandbox simulates, read from JSON. Pure.

| kind | what happens to a request | its own keys |
|---|---|---|
| `delay` | answered late, then treated as usual | `seconds` |
| `status` | refused with a status | `status`, `body`: `json` or `html` |
| `rate_limit` | 429 with X-RateLimit-Reset | `reset_in` seconds |
| `drop_before` | connection closed, nothing accepted | |
| `drop_after` | accepted, then the connection closed without an answer | |
| `refuse` | 400 naming a personalization | `personalization` (an index) or `match` (part of an address) |

Each may have `times` (only the next so many requests), `probability` with `seed` (the same seed brings the same
choices), and `where`: `send` (mail/send only, the default) or `all` of `/v3`.
"""

import random
from dataclasses import asdict, dataclass
from typing import Any

KINDS = ("delay", "status", "rate_limit", "drop_before", "drop_after", "refuse")
STATUSES = (400, 401, 403, 404, 405, 413, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong. `seconds` and `reset_in` in seconds, `times` None means until taken away."""

    kind: str
    times: int | None = None
    probability: float = 1.0
    seed: int = 0
    where: str = "send"
    seconds: float = 1.0
    status: int = 503
    body: str = "json"
    reset_in: float = 1.0
    personalization: int = 0
    match: str = ""

    def triggers(self, *, turn: int) -> bool:
        """Return whether it strikes at its `turn`-th chance, the same way on every run with the same seed."""
        if self.probability >= 1:
            return True
        return random.Random(f"{self.seed}:{turn}").random() < self.probability  # noqa: S311 - dice, not a secret

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def in_words(self) -> str:
        what = {
            "delay": f"answer {self.seconds:g} s late",
            "status": f"refuse with {self.status} ({self.body.upper()} body)",
            "rate_limit": f"429, try again in {self.reset_in:g} s",
            "drop_before": "drop the connection before accepting",
            "drop_after": "accept, then drop the connection without an answer",
            "refuse": f"400 for {'addresses with “' + self.match + '”' if self.match else self._which()}",
        }[self.kind]
        chance = f", {self.probability:.0%} of the time" if self.probability < 1 else ""
        return f"{what}{chance}{', on every endpoint' if self.where == 'all' else ''}"

    def _which(self) -> str:
        return f"personalization {self.personalization}"


@dataclass(frozen=True, kw_only=True)
class EventFaults:
    """Faults of events: held back, reordered, sent twice, compressed, mixed with malformed items."""

    hold: bool = False
    shuffle: bool = False
    duplicate: bool = False
    gzip: bool = False
    garble: bool = False


class BadFault(ValueError):
    """The JSON does not describe faults; the text says why."""


def parse(document: object) -> tuple[list[Fault], EventFaults]:
    """Read `{"faults": [...], "events": {...}}`; raise `BadFault` on anything unknown."""
    if not isinstance(document, dict) or set(document) - {"faults", "events"}:
        raise BadFault('Expected {"faults": [...], "events": {...}}.')
    faults, events = document.get("faults", []), document.get("events", {})
    if not isinstance(faults, list):
        raise BadFault("faults must be an array.")
    if not isinstance(events, dict) or set(events) - set(EventFaults.__dataclass_fields__):
        raise BadFault(f"events may hold {', '.join(EventFaults.__dataclass_fields__)}.")
    if not all(isinstance(value, bool) for value in events.values()):
        raise BadFault("The switches in events are true or false.")
    return [fault_from(one) for one in faults], EventFaults(**events)


def fault_from(one: object) -> Fault:
    """Read one fault; what only answers carry (`left`, `hits`...) is passed over."""
    if not isinstance(one, dict):
        raise BadFault("A fault is an object.")
    given = {key: value for key, value in one.items() if key not in ("position", "left", "hits", "in_words")}
    if unknown := set(given) - set(Fault.__dataclass_fields__):
        raise BadFault(f"A fault has no {', '.join(sorted(unknown))}.")
    if given.get("kind") not in KINDS:
        raise BadFault(f"kind is one of {', '.join(KINDS)}.")
    for key, value in given.items():
        _check(key, value)
    return Fault(**given)


_RANGES: dict[str, tuple[type | tuple[type, ...], float, float]] = {
    "times": (int, 1, 1_000_000),
    "probability": ((int, float), 0, 1),
    "seed": (int, -(2**63), 2**63),
    "seconds": ((int, float), 0, 600),
    "reset_in": ((int, float), 0, 86_400),
    "personalization": (int, 0, 999),
}
_CHOICES: dict[str, tuple[object, ...]] = {
    "kind": KINDS,
    "where": ("send", "all"),
    "body": ("json", "html"),
    "status": STATUSES,
}


def _check(key: str, value: object) -> None:
    if key in _CHOICES and value not in _CHOICES[key]:
        raise BadFault(f"{key} is one of {', '.join(map(str, _CHOICES[key]))}.")
    if key == "match" and not isinstance(value, str):
        raise BadFault("match is a text.")
    if key in _RANGES and not (key == "times" and value is None):
        _check_range(key, value)


def _check_range(key: str, value: object) -> None:
    kind, low, high = _RANGES[key]
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:  # type: ignore[operator]
        raise BadFault(f"{key} is a number from {low:g} to {high:g}.")
