"""What a scenario gives back."""

from dataclasses import dataclass

from tests.chaos.oracle import Verdict

Done = tuple[str, Verdict]


class Skipped(Exception):
    """This cannot be done on this machine; says why."""


@dataclass
class Result:
    """One row of the table."""

    name: str
    done: str
    verdict: Verdict | None
    seconds: float
    skipped: bool = False

    @property
    def well(self) -> bool:
        return self.skipped or (self.verdict is not None and self.verdict.well)

    @property
    def word(self) -> str:
        return "skipped" if self.skipped else "well" if self.well else "BAD"

    def row(self) -> str:
        v = self.verdict
        counts = (
            f"{v.sent:,} | {len(v.lost)} | {len(v.twice)} | {len(v.may_not)} | {v.doubted}"
            if v
            else "- | - | - | - | -"
        )
        return f"| {self.name} | {self.done}, {self.seconds:.0f} s | {counts} | {self.word:8} |"
