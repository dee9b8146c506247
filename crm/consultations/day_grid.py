"""Day grid of a calendar: hours down, days or clinicians across, each consultation in the hour it starts in. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from crm.core.business_hours import Calendar

USUAL = (8, 17)  # hours shown when nothing opens and nothing is booked


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: a day, or a clinician on a day. `items` in order; `note` says why nobody is seen, `absent` who is away."""

    heading: str
    day: date
    items: Sequence[Any]
    note: str = ""
    absent: str = ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One hour of a column."""

    items: Sequence[Any]
    is_open: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """One hour, across all columns."""

    hour: time
    cells: Sequence[Cell]


def days_shown(first: date, *, calendar: Calendar, busy: frozenset[date]) -> list[date]:
    """Return the days of a week that the clinic opens on or that hold a consultation; never none."""
    week = [first + timedelta(days=number) for number in range(7)]
    shown = [day for day in week if day.weekday() in calendar.hours or day in busy]
    return shown or week


def rows(columns: Sequence[Column], *, calendar: Calendar) -> list[Row]:
    """Return the hours from the first opening or consultation to the last."""
    zone, spans = calendar.zone, {column.day: calendar.opening(column.day) for column in columns}
    starts = [item.starts_at.astimezone(zone).hour for column in columns for item in column.items]
    for span in spans.values():
        if span is not None:
            closes = span[1].astimezone(zone)
            starts += [span[0].astimezone(zone).hour, closes.hour if closes.minute else closes.hour - 1]
    first, last = (min(starts), max(starts)) if starts else (USUAL[0], USUAL[1] - 1)
    return [
        Row(hour=time(hour), cells=[_cell(column, hour, calendar=calendar) for column in columns])
        for hour in range(first, last + 1)
    ]


def _cell(column: Column, hour: int, *, calendar: Calendar) -> Cell:
    span = calendar.opening(column.day)
    begins = datetime.combine(column.day, time(hour), calendar.zone)
    is_open = span is not None and span[0] < begins + timedelta(hours=1) and begins < span[1]
    items = [item for item in column.items if item.starts_at.astimezone(calendar.zone).hour == hour]
    return Cell(items=items, is_open=is_open and not column.note)
