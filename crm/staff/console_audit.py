"""The audit log, for administrators."""

from datetime import date, datetime, time, timedelta
from typing import Any

from flask import render_template, request, url_for
from flask.typing import ResponseReturnValue

from crm.audit import queries, seals
from crm.audit import service as audit
from crm.core import current
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.staff import access, service

pages = ConsolePages(
    "audit",
    __name__,
    url_prefix="/audit",
    entries=[ConsoleEntry(label="Audit log", permission="read_audit", order=82, section="Settings")],
)

FILTERS = {
    "actor": "Who",
    "action": "What",
    "object_type": "Kind",
    "object_id": "Number",
    "since": "From",
    "until": "To",
}


@pages.get("")
@access.require("read_audit")
def index() -> ResponseReturnValue:
    """Who did and saw what, newest first. Reading the log is in the log, too."""
    asked = {name: value for name in FILTERS if (value := request.args.get(name, "").strip())}
    since, until = _day(asked.get("since")), _day(asked.get("until"))
    number = asked.get("object_id", "")
    page = queries.entries(
        actor=asked.get("actor"),
        action=asked.get("action"),
        object_type=asked.get("object_type"),
        object_id=int(number) if number.isdecimal() and len(number) < 19 else None,
        since=since,
        before=until + timedelta(days=1) if until else None,
        cursor=request.args.get("cursor"),
    )
    audit.record("audit.view", detail={"filters": sorted(asked)})
    return render_template(
        "console/staff/audit.html",
        page=page,
        asked=asked,
        tags=_tags(asked),
        names=service.names_of({entry.actor for entry in page.rows}),
        older=_address(**{**asked, "cursor": page.next}) if page.next else None,
        newest=_address(**asked) if request.args.get("cursor") else None,
    )


@pages.post("/check")
@access.require("read_audit")
def check() -> ResponseReturnValue:
    """Read the whole chain and say what is not as it was written. A seal that was kept elsewhere may be given."""
    given = request.form.get("seal", "").strip()
    audit.seal()
    findings = seals.verify([given] if given else [])
    audit.record("audit.verified", detail={"findings": len(findings)})
    return render_template("console/staff/audit_check.html", findings=findings, seal=given)


def _address(**arguments: Any) -> str:
    return url_for(".index", **arguments)


def _tags(asked: dict[str, str]) -> list[dict[str, str]]:
    return [
        {
            "label": label,
            "value": asked[name],
            "href": _address(**{key: value for key, value in asked.items() if key != name}),
        }
        for name, label in FILTERS.items()
        if name in asked
    ]


_FIRST_DAY, _LAST_DAY = date(1900, 1, 1), date(2999, 12, 31)  # a zone's moments outside of them may overflow


def _day(text: str | None) -> datetime | None:
    """The start of a day in the clinic's zone; None for what is not a date."""
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    day = max(_FIRST_DAY, min(day, _LAST_DAY))
    return datetime.combine(day, time(), current.settings().clinic.zone)
