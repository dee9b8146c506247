"""What all report pages share: filters from the address, their form and links, and files."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, g, render_template, request, url_for
from flask_babel import format_date, gettext

from crm.audit import service as audit
from crm.core import clock, csv_files, current
from crm.core.errors import Invalid
from crm.desk.list_filters import SOURCES
from crm.leads import rules as lead_rules
from crm.reports import queries, rules, texts
from crm.reports.queries import LeadFilter
from crm.reports.rules import Period

NAMES = ("period", "from", "to", "kind", "source", "practice", "owner", "language", "by")
LANGUAGES = {"en": "English", "es": "Spanish"}
IDLE_AFTER = timedelta(days=14)
FEW = f"<{rules.SMALL}"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the address asks for."""

    values: Mapping[str, str]
    period: Period
    leads: LeadFilter

    def kinds(self) -> list[dict[str, Any]]:
        """Return the tabs of the kinds of leads."""
        return [
            {"label": label, "href": self.href(kind=kind), "current": kind == self.leads.kind}
            for kind, label in texts.KINDS.items()
        ]

    def href(self, where: str | None = None, /, **changes: Any) -> str:
        """Return the address of a page with the same filters, some changed."""
        values: dict[str, Any] = {**self.values, **changes}
        kept = {name: value for name, value in values.items() if value not in (None, "")}
        return url_for(where or request.endpoint or "", **kept)

    def shown(self, counts: Sequence[int]) -> list[int | None]:
        """Return counts; below five hidden where the leads are those of one language."""
        return rules.hide_small(counts) if self.leads.language else list(counts)


def asked(*, days: int = rules.DEFAULT_PERIOD) -> Asked:
    """Read the filters of the address; `days` is the period where it names none. Raises Invalid for what is not known."""
    values = {name: request.args.get(name, "").strip() for name in NAMES}
    period = rules.period_from(values, today=clock.today(), default=days)
    kind = values["kind"] or lead_rules.CONTACT_REQUEST
    wrong = {
        "kind": kind not in rules.STEPS,
        "source": values["source"] not in ("", *SOURCES),
        "language": values["language"] not in ("", *LANGUAGES),
        "by": values["by"] not in ("", *queries.GROUPS),
    }
    if any(wrong.values()):
        raise Invalid(
            {name: [gettext("Choose one of the list.")] for name, is_wrong in wrong.items() if is_wrong}
        )
    wanted = LeadFilter(
        kind=kind,
        period=period,
        source=values["source"],
        practice=_number(values["practice"]),
        owner=_number(values["owner"]),
        language=values["language"],
    )
    return Asked(values={name: value for name, value in values.items() if value}, period=period, leads=wanted)


def _number(value: str) -> int | None:
    if not value:
        return None
    if not (value.isascii() and value.isdecimal()) or len(value) > 18:
        raise Invalid({"owner": [gettext("Choose one of the list.")]})
    return int(value)


def select_options() -> dict[str, list[tuple[str, str]]]:
    """Return the choices of the filter form."""
    return {
        "period": [(str(days), str(label)) for days, label in texts.PERIODS.items()],
        "source": [(code, gettext(label)) for code, label in SOURCES.items()],
        "practice": [(str(one), name) for one, name in queries.choices("practice")],
        "owner": [("0", gettext("Nobody")), *((str(one), name) for one, name in queries.choices("user"))],
        "language": [(code, gettext(label)) for code, label in LANGUAGES.items()],
    }


def active_filters(wanted: Asked, options: Mapping[str, Sequence[tuple[str, str]]]) -> list[dict[str, str]]:
    """Return the filters in force as removable tags."""
    labels = {
        "source": texts.GROUPS["source"],
        "practice": texts.GROUPS["practice"],
        "owner": texts.GROUPS["owner"],
        "language": texts.GROUPS["language"],
    }
    return [
        {
            "label": str(label),
            "value": dict(options[name]).get(wanted.values[name], wanted.values[name]),
            "href": wanted.href(None, **{name: None}),
        }
        for name, label in labels.items()
        if wanted.values.get(name)
    ]


def key_labels(by: str, keys: Iterable[Any]) -> dict[Any, str]:
    """Return the name of each key of a breakdown."""
    keys = list(keys)
    known = _named(by, [key for key in keys if key])
    without = {"owner": gettext("Nobody"), "practice": gettext("No practice")}.get(by, gettext("Unknown"))
    return {key: known.get(key, key if isinstance(key, str) and key else without) for key in keys}


def _named(by: str, keys: Sequence[Any]) -> dict[Any, str]:
    tables = {"practice": "practice", "owner": "user"}
    if by in tables:
        return queries.names(tables[by], keys)
    words = {"source": SOURCES, "language": LANGUAGES}.get(by, {})
    return {code: gettext(label) for code, label in words.items()}


def bucket_labels(buckets: Sequence[Period]) -> list[str]:
    """Return the first day of each bucket in the reader's language."""
    return [format_date(one.first, "MMM d" if len(buckets) < 60 else "MMM y") for one in buckets]


def render(template: str, wanted: Asked, *, report: str, **context: Any) -> str:
    """Return a report page with its filter form."""
    options = select_options()
    return render_template(
        f"console/reports/{template}.html",
        asked=wanted,
        period=wanted.period,
        before=wanted.period.before(),
        options=options,
        active=active_filters(wanted, options),
        counted_at=queries.counted_at(report, wanted.period),
        few=FEW,
        lasted=lasted,
        **context,
    )


def lasted(minutes: float | None) -> str:
    """Return a span as people say it: minutes under two hours, hours under two days, else days."""
    if minutes is None:
        return "–"
    if minutes < 120:
        return str(gettext("%(n)s min", n=round(minutes)))
    if minutes < 2880:
        hours = f"{minutes / 60:.3g}"
        return str(gettext("%(n)s h", n=hours))
    days = f"{minutes / 1440:.3g}"
    return str(gettext("%(n)s days", n=days))


def reader_zone() -> ZoneInfo:
    """Return the time zone of the reader, else that of the clinic."""
    name = g.get("reader_zone")
    return ZoneInfo(name) if name else current.calendar().zone


def idle_since() -> datetime:
    """Return the moment before which an open lead that has not moved is idle."""
    return clock.now() - IDLE_AFTER


def file_answer(name: str, rows: Iterable[Sequence[Any]], wanted: Asked) -> Response:
    """Return rows as the file that the address asks for; the audit log keeps that it was taken."""
    kind = wants_file()
    audit.record("report.file", detail={"report": name, "format": kind, "filters": dict(wanted.values)})
    content, content_type = _FILES[kind](rows)
    answer = Response(content, content_type=content_type)
    period = f"{wanted.period.first}-{wanted.period.last}"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}-{period}.{kind}"'
    return answer


def _as_csv(rows: Iterable[Sequence[Any]]) -> tuple[bytes, str]:
    lines = csv_files.csv_lines(["" if cell is None else str(cell) for cell in row] for row in rows)
    return "".join(lines).encode("utf-8-sig"), "text/csv; charset=utf-8"


def _as_xlsx(rows: Iterable[Sequence[Any]]) -> tuple[bytes, str]:
    import xlsxwriter  # noqa: PLC0415 - only for a file, and slow to import

    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        bold, sheet = book.add_format({"bold": True}), book.add_worksheet()
        for place, row in enumerate(rows):
            for column, cell in enumerate(row):
                if isinstance(cell, int | float):
                    sheet.write_number(place, column, cell)
                elif cell is not None:  # as text, whatever it begins with: a cell is no formula
                    sheet.write_string(place, column, str(cell), bold if place == 0 else None)
        sheet.freeze_panes(1, 0)
        sheet.autofit()
    return file.getvalue(), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


_FILES = {"csv": _as_csv, "xlsx": _as_xlsx}


def wants_file() -> str:
    """Return the kind of file that the address asks for in place of a page; empty for none."""
    asked_for = request.args.get("format", "")
    return asked_for if asked_for in _FILES else ""
