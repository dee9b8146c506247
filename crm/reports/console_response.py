"""The Response report: how soon staff first act on leads, what was late, and when leads come in."""

from collections.abc import Sequence
from typing import Any

from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.reports import queries, report_page, rules, texts
from crm.reports.queries import Answers
from crm.reports.report_page import Asked
from crm.staff import access

pages = ConsolePages(
    "response",
    __name__,
    url_prefix="/reports/response",
    entries=[ConsoleEntry(label="Response", permission="see_reports", order=63, section="Reports")],
)


@pages.get("")
@access.require("see_reports")
def index() -> ResponseReturnValue:
    """Show how soon leads were answered."""
    wanted = report_page.asked()
    owners = queries.answers(wanted.leads, by="owner")
    labels = report_page.key_labels("owner", [one.key for one in owners])
    table = [_row(one, labels[one.key], wanted) for one in owners]
    if report_page.wants_file():
        columns = ("label", "leads", "touched", "late", "waiting", "minutes", "attempts")
        rows = [[row[name] for name in columns] for row in table]
        return report_page.file_answer("response", [columns, *rows], wanted)
    heat = queries.by_hour(wanted.leads)
    all_of = (
        queries.answers(wanted.leads)
        or [Answers(key=0, leads=0, touched=0, late=0, waiting=0, minutes=None, attempts=None)]
    )[0]
    return report_page.render(
        "response",
        wanted,
        report="leads",
        kinds=wanted.kinds(),
        total=all_of,
        in_time=rules.share(all_of.leads - all_of.late, all_of.leads),
        late_href=wanted.href("console.reports.people", status="late"),
        waiting_href=wanted.href("console.reports.people", status="untouched"),
        line=_line(wanted),
        heat=_heat(heat),
        heat_says=_busiest(heat),
        hours=[f"{hour}" for hour in range(24)],
        table=table,
        definitions=texts.RESPONSE,
    )


def _row(one: Answers, label: str, wanted: Asked) -> dict[str, Any]:
    return {
        "label": label, "leads": one.leads, "touched": one.touched, "late": one.late, "waiting": one.waiting,
        "minutes": None if one.minutes is None else round(one.minutes),
        "attempts": None if one.attempts is None else round(one.attempts, 1),
        "in_time": rules.share(one.leads - one.late, one.leads),
        "href": wanted.href(owner=one.key),
    }  # fmt: skip


def _line(wanted: Asked) -> list[dict[str, Any]]:
    buckets = rules.buckets(wanted.period)
    medians = queries.touch_over_time(wanted.leads, buckets)
    labels = report_page.bucket_labels(buckets)
    return [
        {"label": label, "value": None if minutes is None else round(minutes / 60, 1)}
        for label, minutes in zip(labels, medians, strict=True)
    ]


def _heat(counts: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    return [{"label": label, "cells": row} for label, row in zip(texts.WEEKDAYS, counts, strict=True)]


def _busiest(counts: Sequence[Sequence[int]]) -> str:
    most, weekday, hour = max(
        (count, -weekday, -hour) for weekday, row in enumerate(counts) for hour, count in enumerate(row)
    )
    if not most:
        return str(gettext("No leads came in."))
    return str(gettext("Most come in on %(day)s at %(hour)s:00.", day=texts.WEEKDAYS[-weekday], hour=-hour))
