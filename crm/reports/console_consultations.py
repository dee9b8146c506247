"""The Consultations report: which took place, were missed, moved or cancelled, and what reminders change."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.consultations.rules import ConsultationState
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.reports import queries, report_page, rules, texts
from crm.reports.report_page import Asked
from crm.staff import access

pages = ConsolePages(
    "consultations_report",
    __name__,
    url_prefix="/reports/consultations",
    entries=[ConsoleEntry(label="Consultations", permission="see_reports", order=66, section="Reports")],
)
ENDS = (
    ConsultationState.ATTENDED,
    ConsultationState.NO_SHOW,
    ConsultationState.CANCELLED,
    ConsultationState.BOOKED,  # in the past: the outcome is missing
)
ENOUGH = 30  # consultations of each group, before their shares are compared


@pages.get("")
@access.require("see_reports")
def index() -> ResponseReturnValue:
    """Show the consultations of a period beside the time before it."""
    wanted = report_page.asked()
    found = queries.consultations(wanted.period)
    by_clinician = _by_clinician(found)
    if report_page.wants_file():
        header = ["clinician", *(str(state) for state in ENDS), "moved"]
        rows = [[one["label"], *one["counts"], one["moved"]] for one in by_clinician]
        return report_page.file_answer("consultations", [header, *rows], wanted)
    total, then = _by_state(found), _by_state(queries.consultations(wanted.period.before()))
    return report_page.render(
        "consultations",
        wanted,
        report="consultations",
        total=total,
        then=then,
        held=_held(total),
        attended=rules.share(total[ConsultationState.ATTENDED], _held(total)),
        missed=rules.share(total[ConsultationState.NO_SHOW], _held(total)),
        missed_before=rules.share(then[ConsultationState.NO_SHOW], _held(then)),
        series=_series(),
        columns=_columns(wanted, found),
        clinicians=by_clinician,
        reminders=_reminders(found),
        definitions=texts.CONSULTATIONS,
    )


def _by_state(found: Iterable[Any]) -> Counter[str]:
    total = Counter[str]()
    for row in found:
        total[row.state] += row.consultations
    return total


def _held(total: Counter[str]) -> int:
    """Return how many were kept or missed: the others say nothing about who comes."""
    return total[ConsultationState.ATTENDED] + total[ConsultationState.NO_SHOW]


def _by_clinician(found: Sequence[Any]) -> list[dict[str, Any]]:
    ids = {row.clinician_id for row in found}
    names = {**queries.names("user", ids), 0: gettext("Nobody yet")}
    parts = []
    for clinician_id in ids:
        total = _by_state(row for row in found if row.clinician_id == clinician_id)
        parts.append(
            {
                "label": names.get(clinician_id, gettext("Unknown")),
                "counts": [total[state] for state in ENDS],
                "moved": total[ConsultationState.RESCHEDULED],
                "missed": rules.share(total[ConsultationState.NO_SHOW], _held(total)),
            }
        )
    return sorted(parts, key=lambda part: (-sum(part["counts"]), part["label"]))


def _reminders(found: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the share of missed consultations with and without a reminder; None where there are too few to compare."""
    groups = []
    for reminded, label in ((True, gettext("With a reminder")), (False, gettext("Without a reminder"))):
        total = _by_state(row for row in found if row.reminded is reminded)
        held = _held(total)
        groups.append(
            {"label": label, "held": held, "missed": total[ConsultationState.NO_SHOW],
             "share": rules.share(total[ConsultationState.NO_SHOW], held) if held >= ENOUGH else None}
        )  # fmt: skip
    return groups


def _series() -> list[dict[str, str]]:
    return [
        {"label": gettext("Attended"), "kind": "main"},
        {"label": gettext("No-show"), "kind": "warning"},
        {"label": gettext("Cancelled"), "kind": "quiet"},
        {"label": gettext("Outcome missing"), "kind": "danger"},
    ]


def _columns(wanted: Asked, found: Sequence[Any]) -> list[dict[str, Any]]:
    buckets = rules.buckets(wanted.period)
    labels = report_page.bucket_labels(buckets)
    days = {state: Counter[Any]() for state in ENDS}
    for row in found:
        if row.state in days:
            days[ConsultationState(row.state)][row.day] += row.consultations
    sums = [queries.summed(days[state], buckets) for state in ENDS]
    return [{"label": label, "parts": [one[place] for one in sums]} for place, label in enumerate(labels)]
