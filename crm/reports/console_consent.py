"""The Consent report: who was asked to confirm, who confirmed, who withdrew."""

from collections import Counter
from typing import Any

from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.reports import queries, report_page, rules, texts
from crm.reports.report_page import Asked
from crm.staff import access

pages = ConsolePages(
    "consent_report",
    __name__,
    url_prefix="/reports/consent",
    entries=[ConsoleEntry(label="Consent", permission="see_reports", order=65, section="Reports")],
)


@pages.get("")
@access.require("see_reports")
def index() -> ResponseReturnValue:
    """Show the agreement to emails in a period beside the time before it."""
    wanted = report_page.asked()
    found = queries.consents(wanted.period)
    if report_page.wants_file():
        header = ["action", "wording", "source", "people"]
        rows = [[row.action, row.wording, _source(row.source), row.people] for row in found]
        return report_page.file_answer("consent", [header, *rows], wanted)
    before = queries.consents(wanted.period.before())
    total, then = _total(found), _total(before)
    return report_page.render(
        "consent",
        wanted,
        report="consents",
        total=total,
        then=then,
        confirmed=rules.share(total["confirmed"], total["asked"]),
        confirmed_before=rules.share(then["confirmed"], then["asked"]),
        columns=_columns(wanted),
        series=[
            {"label": gettext("Confirmed"), "kind": "main"},
            {"label": gettext("No answer"), "kind": "quiet"},
        ],
        wordings=_asked_by(found, "wording"),
        ways=[{**row, "label": _source(row["label"])} for row in _asked_by(found, "source")],
        withdrawn=[
            {"label": _source(source), "value": people, "rate": f"{rules.share(people, total['withdrawn'])}%"}
            for source, people in _withdrawn_by(found).most_common()
        ],
        definitions=texts.CONSENT,
    )


def _source(source: str) -> str:
    return str(texts.CONSENT_SOURCES.get(source, source.replace("_", " ").capitalize()))


def _total(found: Any) -> Counter[str]:
    total = Counter[str]()
    for row in found:
        total[row.action] += row.people
    return total


def _asked_by(found: Any, field: str) -> list[dict[str, Any]]:
    """Return how many were asked and confirmed by each wording or way, the most asked first."""
    asked, confirmed = Counter[str](), Counter[str]()
    for row in found:
        if row.action in ("asked", "confirmed"):
            (asked if row.action == "asked" else confirmed)[getattr(row, field)] += row.people
    return [
        {"label": label, "value": people, "rate": f"{rules.share(confirmed[label], people)}%"}
        for label, people in asked.most_common()
    ]


def _withdrawn_by(found: Any) -> Counter[str]:
    return Counter({row.source: row.people for row in found if row.action == "withdrawn"})


def _columns(wanted: Asked) -> list[dict[str, Any]]:
    buckets = rules.buckets(wanted.period)
    days = queries.consents_per_day(wanted.period)
    asked, confirmed = (queries.summed(days[action], buckets) for action in ("asked", "confirmed"))
    labels = report_page.bucket_labels(buckets)
    return [
        {"label": labels[place], "parts": [confirmed[place], asked[place] - confirmed[place]]}
        for place in range(len(buckets))
    ]
