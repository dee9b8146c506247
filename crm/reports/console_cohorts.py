"""The Cohorts report: of the leads of each month, how many booked and attended within as many days."""

from collections.abc import Sequence
from typing import Any

from flask.typing import ResponseReturnValue
from flask_babel import format_date, gettext

from crm.core import clock
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.reports import queries, report_page, rules, texts
from crm.reports.queries import Cohort
from crm.reports.report_page import Asked
from crm.staff import access

pages = ConsolePages(
    "cohorts_report",
    __name__,
    url_prefix="/reports/cohorts",
    entries=[ConsoleEntry(label="Cohorts", permission="see_reports", order=67, section="Reports")],
)
YEAR = 365
Cell = int | str | None
"""A share in percent; None where it is too early, `report_page.FEW` where a count is too small to be shown."""


@pages.get("")
@access.require("see_reports")
def index() -> ResponseReturnValue:
    """Show the months of arrival of a period beside each other."""
    wanted = report_page.asked(days=YEAR)
    leads = queries.LeadFilter(**{**vars(wanted.leads), "period": rules.whole_months(wanted.period)})
    found = queries.cohorts(leads)
    counts = wanted.shown([one.leads for one in found])
    booked = _shares(wanted, found, "booked")
    attended = _shares(wanted, found, "attended")
    if report_page.wants_file():
        return report_page.file_answer("cohorts", _file_rows(found, counts, booked, attended), wanted)
    labels = [format_date(one.month, "MMM y") for one in found]
    return report_page.render(
        "cohorts",
        wanted,
        report="leads",
        kinds=wanted.kinds(),
        labels=labels,
        tables=[
            {"id": "booked", "title": gettext("Booked within"), "rows": _rows(labels, counts, booked)},
            {"id": "attended", "title": gettext("Attended within"), "rows": _rows(labels, counts, attended)},
        ],
        columns=[gettext("%(n)s days", n=days) for days in rules.WITHIN] + [gettext("So far")],
        says=_sentence(labels, booked),
        definitions=texts.COHORTS,
    )


def _shares(wanted: Asked, found: Sequence[Cohort], what: str) -> list[list[Cell]]:
    """Return for each month the percent within each number of days, and so far."""
    leads = wanted.shown([one.leads for one in found])
    columns = [_within(found, what, place) for place in range(len(rules.WITHIN))]
    columns.append([getattr(one, f"ever_{what}") for one in found])
    shown = [_cells(column, wanted.shown([part or 0 for part in column]), leads) for column in columns]
    return [list(row) for row in zip(*shown, strict=True)]


def _cells(
    column: Sequence[int | None], parts: Sequence[int | None], leads: Sequence[int | None]
) -> list[Cell]:
    """Return the percent of each month; `parts` and `leads` are the counts with the small ones hidden."""
    return [
        None if count is None else _percent(part, whole)
        for count, part, whole in zip(column, parts, leads, strict=True)
    ]


def _within(found: Sequence[Cohort], what: str, place: int) -> list[int | None]:
    """Return for each month how many did it within `rules.WITHIN[place]` days; None where it is too early."""
    days, today = rules.WITHIN[place], clock.today()
    return [
        getattr(one, what)[place] if rules.has_had(days, month=one.month, today=today) else None
        for one in found
    ]


def _percent(part: int | None, whole: int | None) -> Cell:
    return report_page.FEW if part is None or whole is None else rules.share(part, whole)


def _rows(
    labels: Sequence[str], counts: Sequence[int | None], shares: Sequence[Sequence[Cell]]
) -> list[dict[str, Any]]:
    """Return the rows of one table, the newest month first."""
    rows = [
        {"label": label, "leads": report_page.FEW if count is None else count, "cells": cells}
        for label, count, cells in zip(labels, counts, shares, strict=True)
    ]
    return rows[::-1]


def _sentence(labels: Sequence[str], booked: Sequence[Sequence[Cell]]) -> str:
    """Return what the newest month that can be compared says, beside the one before it."""
    place = rules.WITHIN.index(30)
    known = [
        (label, cells[place])
        for label, cells in zip(labels, booked, strict=True)
        if isinstance(cells[place], int)
    ]
    if len(known) < 2:
        return str(gettext("There are not two months yet whose leads have all had 30 days."))
    (before, then), (month, now) = known[-2:]
    return str(
        gettext(
            "Of the leads of %(month)s, %(now)s%% booked within 30 days; of those of %(before)s, %(then)s%%.",
            month=month, now=now, before=before, then=then,
        )
    )  # fmt: skip


def _file_rows(
    found: Sequence[Cohort],
    counts: Sequence[int | None],
    booked: Sequence[Sequence[Cell]],
    attended: Sequence[Sequence[Cell]],
) -> list[list[Any]]:
    names = [*(f"{days}_days" for days in rules.WITHIN), "so_far"]
    header = [
        "month",
        "leads",
        *(f"booked_percent_{name}" for name in names),
        *(f"attended_percent_{name}" for name in names),
    ]
    return [
        header,
        *(
            [one.month.strftime("%Y-%m"), report_page.FEW if count is None else count, *first, *second]
            for one, count, first, second in zip(found, counts, booked, attended, strict=True)
        ),
    ]
