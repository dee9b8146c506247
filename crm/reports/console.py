"""The Funnel report: how far leads come, in how many days, and where they stop; and the leads behind each number."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NoReturn

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext

from crm.audit import service as audit
from crm.core import paging
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid
from crm.leads import rules as lead_rules
from crm.reports import queries, report_page, rules, texts
from crm.reports.queries import Counts, Part
from crm.reports.report_page import Asked
from crm.staff import access

pages = ConsolePages(
    "reports",
    __name__,
    url_prefix="/reports",
    entries=[ConsoleEntry(label="Funnel", permission="see_reports", order=62, section="Reports")],
)

FEW_BEFORE = 10  # a change of less than this many leads is not given in percent
FILTERS = frozenset({"source", "practice", "owner", "language"})
"""What leads are broken down by and can be filtered by, too."""


@pages.get("")
@access.require("see_reports")
def index() -> ResponseReturnValue:
    """Show the funnel of a period beside the time before it."""
    wanted = report_page.asked()
    by = wanted.values.get("by") or "source"
    parts = queries.parts(wanted.leads, by=by)
    names = [str(texts.STEPS[step]) for step in rules.STEPS[wanted.leads.kind]]
    table = _table(wanted, by, parts)
    if report_page.wants_file():
        header = [str(texts.GROUPS[by]), *names, gettext("Days to a booking (median)")]
        rows = [
            [row["label"], *(report_page.FEW if n is None else n for n in row["steps"]), row["days"]]
            for row in table
        ]
        return report_page.file_answer("funnel", [header, *rows], wanted)
    before = _before(wanted)
    kind, counts, counts_before = wanted.leads.kind, queries.counts(wanted.leads), queries.counts(before)
    now, then = queries.steps_of(counts, kind=kind), queries.steps_of(counts_before, kind=kind)
    return report_page.render(
        "funnel",
        wanted,
        report="leads",
        kinds=wanted.kinds(),
        by=by,
        groups=texts.GROUPS,
        names=names,
        steps=_steps(wanted, now, then),
        says=_sentence(now[0], then[0]),
        line=_line(wanted, counts, counts_before),
        table=table[: queries.SHOWN],
        left=max(0, len(table) - queries.SHOWN),
        medians=queries.medians(wanted.leads),
        medians_before=queries.medians(before),
        stops=_stops(wanted),
        definitions=texts.FUNNEL[wanted.leads.kind],
    )


def _before(wanted: Asked) -> queries.LeadFilter:
    return queries.LeadFilter(**{**vars(wanted.leads), "period": wanted.period.before()})


def _steps(wanted: Asked, now: Sequence[int], then: Sequence[int]) -> list[dict[str, Any]]:
    shown, before = wanted.shown(now), wanted.shown(then)
    return [
        {
            "label": texts.STEPS[name],
            "value": report_page.FEW if shown[place] is None else shown[place],
            "before": report_page.FEW if before[place] is None else before[place],
            "rate": rules.share(shown[place], shown[place - 1]) if place else None,
            "href": wanted.href(".people", step=place, by=None) if shown[place] else None,
        }
        for place, name in enumerate(rules.STEPS[wanted.leads.kind])
    ]


def _sentence(now: int, then: int) -> str:
    said = ngettext("%(num)s lead came in", "%(num)s leads came in", now)
    change = rules.share(now - then, then)
    if change is None or then < FEW_BEFORE:
        return str(gettext("%(said)s; in the same time before: %(then)s.", said=said, then=then))
    if change >= 0:
        return str(
            gettext("%(said)s, %(change)s%% more than in the same time before.", said=said, change=change)
        )
    return str(
        gettext("%(said)s, %(change)s%% fewer than in the same time before.", said=said, change=-change)
    )


def _line(wanted: Asked, counts: Counts, counts_before: Counts) -> list[dict[str, Any]]:
    buckets = rules.buckets(wanted.period)
    before = rules.buckets(wanted.period.before())
    now = wanted.shown(queries.summed(queries.per_day(counts), buckets))
    then = wanted.shown(queries.summed(queries.per_day(counts_before), before))
    labels = report_page.bucket_labels(buckets)
    return [
        {"label": labels[place], "value": now[place], "before": then[place] if place < len(then) else None}
        for place in range(len(buckets))
    ]


def _table(wanted: Asked, by: str, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Return the parts with their names; of what people are, counts below five are hidden."""
    labels = report_page.key_labels(by, [part.key for part in parts])
    hide = by in rules.SENSITIVE or bool(wanted.leads.language)
    columns = _columns(parts, hide=hide)

    def days_of(part: Part) -> float | None:
        return None if hide and part.steps[0] < rules.SMALL else _rounded(part.days_to_booked)

    return [
        {
            "label": labels[part.key],
            "steps": [column[place] for column in columns],
            "days": days_of(part),
            "href": wanted.href(**{by: part.key}, by=None) if by in FILTERS and part.key else None,
        }
        for place, part in enumerate(parts)
    ]


def _columns(parts: Sequence[Part], *, hide: bool) -> list[list[int | None]]:
    return [
        rules.hide_small(column) if hide else list(column)
        for column in zip(*(part.steps for part in parts), strict=True)
    ]


def _rounded(days: float | None) -> float | None:
    return None if days is None else round(days, 1)


def _stops(wanted: Asked) -> list[dict[str, Any]]:
    names = rules.STEPS[wanted.leads.kind]
    if wanted.leads.language:
        return []
    return [
        {
            "label": texts.STEPS[names[stop.step]],
            "open": stop.open,
            "idle": stop.idle,
            "closed": stop.closed,
            "reasons": [
                (gettext(lead_rules.label(reason).capitalize()), count) for reason, count in stop.reasons
            ],
            **{
                f"{status}_href": wanted.href(".people", only=stop.step, status=status, by=None)
                for status in ("open", "idle", "closed")
            },
        }
        for stop in queries.stops(wanted.leads, idle_since=report_page.idle_since())
    ]


@pages.get("/leads")
@access.require("see_leads")
def people() -> ResponseReturnValue:
    """List the leads behind a number of a report."""
    wanted = report_page.asked()
    status = request.args.get("status", "")
    step, only = _place("step", wanted) or 0, _place("only", wanted)
    found = queries.lead_ids(
        wanted.leads,
        step=step,
        only=only,
        status=status if status in queries.STATUSES else _refuse("status"),
        idle_since=report_page.idle_since(),
        after=_after(),
    )
    shown = found[: queries.WHO]
    leads = queries.load_leads(row.lead_id for row in shown)
    audit.record("report.leads", detail={"ids": list(leads)})
    names = rules.STEPS[wanted.leads.kind]
    return render_template(
        "console/reports/people.html",
        asked=wanted,
        period=wanted.period,
        leads=[leads[row.lead_id] for row in shown if row.lead_id in leads],
        step=texts.STEPS[names[step if only is None else only]],
        only=only is not None,
        back=wanted.href(".index"),
        older=_older(wanted, found, {"step": step or None, "only": only, "status": status}),
    )


def _after() -> tuple[date, int] | None:
    cursor = request.args.get("cursor")
    if not cursor:
        return None
    day, lead_id = paging.decode(cursor, (str, int))
    try:
        return date.fromisoformat(day), lead_id
    except ValueError:
        return _refuse("cursor")


def _older(wanted: Asked, found: Sequence[Any], more: dict[str, Any]) -> str | None:
    if len(found) <= queries.WHO:
        return None
    last = found[queries.WHO - 1]
    return wanted.href(**more, cursor=paging.encode(last.day.isoformat(), last.lead_id))


def _place(name: str, wanted: Asked) -> int | None:
    value = request.args.get(name, "")
    if not value:
        return None
    if value not in [str(place) for place in range(len(rules.STEPS[wanted.leads.kind]))]:
        _refuse(name)
    return int(value)


def _refuse(name: str) -> NoReturn:
    raise Invalid({name: [gettext("Choose one of the list.")]})
