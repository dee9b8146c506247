"""The Email report: what became of the emails of each sequence step and broadcast, and how near the limits are."""

from typing import Any

from flask import url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.messages.rules import BOUNCE_LIMIT, COMPLAINT_LIMIT
from crm.reports import queries, report_page, rules, texts
from crm.reports.report_page import Asked
from crm.staff import access

pages = ConsolePages(
    "email_report",
    __name__,
    url_prefix="/reports/email",
    entries=[ConsoleEntry(label="Email", permission="see_reports", order=64, section="Reports")],
)


@pages.get("")
@access.require("see_reports")
def index() -> ResponseReturnValue:
    """Show the results of all emails of a period."""
    wanted = report_page.asked()
    found = queries.emails(wanted.period)
    table = [_row(row) for row in found]
    if report_page.wants_file():
        header = ["kind", "of", "email", *queries.EMAIL_COUNTS]
        rows = [
            [row["kind"], row["of"], row["name"], *(row[name] for name in queries.EMAIL_COUNTS)]
            for row in table
        ]
        return report_page.file_answer("email", [header, *rows], wanted)
    total = {name: sum(row[name] for row in table) for name in queries.EMAIL_COUNTS}
    return report_page.render(
        "email",
        wanted,
        report="emails",
        groups=_groups(table),
        total=total,
        bounce_rate=rules.rate(total["bounced"], total["sent"]),
        complaint_rate=rules.rate(total["complained"], total["delivered"]),
        bounce_limit=BOUNCE_LIMIT,
        complaint_limit=COMPLAINT_LIMIT,
        columns=_columns(wanted),
        series=[
            {"label": gettext("Delivered"), "kind": "main"},
            {"label": gettext("Not delivered yet"), "kind": "quiet"},
            {"label": gettext("Bounced or blocked"), "kind": "danger"},
        ],
        definitions=texts.EMAIL,
    )


def _row(row: Any) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in queries.EMAIL_COUNTS}
    name = row.subject or row.purpose or gettext("Unknown")
    if row.sequence_id:
        of, href = row.sequence, url_for("console.sequences.show", sequence_id=row.sequence_id)
        name = gettext("%(place)s. %(subject)s", place=row.step + 1, subject=name)
    elif row.campaign_id:
        of, href = row.campaign, url_for("console.campaigns.show", campaign_id=row.campaign_id)
    else:
        of, href = gettext("Transactional emails"), None
    return {**found, "kind": row.kind, "of": of or gettext("Removed"), "name": name, "href": href}


def _groups(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows under the sequence, broadcast or kind that they belong to."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table:
        group = groups.setdefault(
            (row["kind"], row["of"]), {"name": row["of"], "href": row["href"], "rows": []}
        )
        group["rows"].append(row)
    return list(groups.values())


def _columns(wanted: Asked) -> list[dict[str, Any]]:
    buckets = rules.buckets(wanted.period)
    days = queries.emails_per_day(wanted.period)
    sums = {name: queries.summed(days[name], buckets) for name in queries.EMAIL_COUNTS}
    labels = report_page.bucket_labels(buckets)
    columns = []
    for place, label in enumerate(labels):
        sent, delivered = sums["sent"][place], sums["delivered"][place]
        lost = sums["bounced"][place] + sums["refused"][place]
        columns.append({"label": label, "parts": [delivered, max(0, sent - delivered - lost), lost]})
    return columns
