"""From the values of several runs to one table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.bench.rows import ROWS, Row

Runs = list[dict[str, dict[str, Any]]]
"""One mapping per run: figure -> its values."""


@dataclass(frozen=True)
class Spread:
    """Median, least and most of several runs."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        if self.least == self.most:
            return number(self.middle)
        return f"{number(self.middle)} ({number(self.least)}–{number(self.most)})"


def number(value: float) -> str:
    """Three significant digits, thousands apart, no exponent."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.6f}".rstrip("0")


def values_of(runs: Runs, name: str) -> list[float]:
    """Return the value `figure.key` of every run that has it."""
    figure, _, key = name.partition(".")
    return [run[figure][key] for run in runs if key in run.get(figure, {})]


def spread(values: list[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None


def ratios(runs: Runs, row: Row) -> list[float]:
    """Return value over yardstick for every run that has both."""
    pairs = [(values_of([run], row.value), values_of([run], row.against or "")) for run in runs]
    return [value[0] / yard[0] for value, yard in pairs if value and yard and yard[0]]


def judge(runs: Runs, row: Row) -> dict[str, Any]:
    """Return the figures of one row; the verdict is on the median."""
    value = spread(values_of(runs, row.value))
    ratio = spread(ratios(runs, row)) if row.against else None
    judged = ratio if row.against else value
    if any("error" in run.get(name, {}) for run in runs for name in row.needs):
        verdict = "failed"
    elif judged is None:
        verdict = "not measured"
    else:
        verdict = "reached" if row.reached(judged.middle) else "missed"
    also = {name.partition(".")[2]: found for name in row.also if (found := spread(values_of(runs, name)))}
    yardstick = spread(values_of(runs, row.against)) if row.against else None
    return {
        "row": row,
        "value": value,
        "yardstick": yardstick,
        "ratio": ratio,
        "also": also,
        "verdict": verdict,
    }


def line(judged: Mapping[str, Any]) -> tuple[str, ...]:
    row, value = judged["row"], judged["value"]
    shown = f"{value} {row.unit}" if value else "–"
    shown += "".join(f"; {name.removesuffix('_ms')} {found} ms" for name, found in judged["also"].items())
    yardstick, ratio = judged["yardstick"], judged["ratio"]
    return (row.what, shown, str(yardstick or "–"), str(ratio or "–"), row.target, judged["verdict"])


def table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    """Lay out a Markdown table that is also readable on a screen."""
    rows = [head, *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def result_table(runs: Runs, rows: Iterable[Row] = ROWS) -> str:
    head = ("what", "figure: median (min–max)", "yardstick", "ratio", "target", "verdict")
    return table(head, [line(judge(runs, row)) for row in rows])


def figure_table(runs: Runs) -> str:
    """Show every figure that was measured with its main values."""
    shown = []
    for name in dict.fromkeys(name for run in runs for name in run):
        keys = dict.fromkeys(
            key for run in runs for key, value in run.get(name, {}).items() if type(value) in (int, float)
        )
        shown.append((name, "; ".join(f"{key} {spread(values_of(runs, f'{name}.{key}'))}" for key in keys)))
    return table(("measured", "median (min–max)"), shown)
