"""Retention page of the console: periods by kind, what they would delete, legal holds."""

from typing import Any

from flask import Response, abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from crm.contacts.models import Contact
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.db import db
from crm.core.errors import Conflict, Invalid
from crm.leads import service as leads
from crm.privacy import holds, periods, rules, service
from crm.staff import access
from crm.staff.sign_in import staff_session

pages = ConsolePages(
    "retention",
    __name__,
    url_prefix="/retention",
    entries=[ConsoleEntry(label="Retention", permission="erase_people", order=85, section="Settings")],
)


@pages.get("")
@access.require("erase_people")
def index() -> ResponseReturnValue:
    """Show the periods, and what they delete. With `?check=1` for the periods in the address, before they are saved."""
    if "check" not in request.args:
        return _page(typed={kind: str(days) for kind, days in periods.current().items()})
    try:
        days = _read(request.args)
    except Invalid as error:
        abort(_page(422, typed=request.args, errors=error.fields))
    return _page(typed=request.args, checked=periods.due(days))


def _read(form: Any) -> dict[str, int | None]:
    days: dict[str, int | None] = {}
    wrong: dict[str, list[str]] = {}
    for kind in rules.PERIODS:
        try:
            days[kind] = rules.read_days(kind, form.get(kind, ""))
        except ValueError as error:
            wrong[kind] = [str(error)]
    if wrong:
        raise Invalid(wrong)
    return days


def _page(status: int = 200, *, typed: Any, checked: dict[str, int] | None = None, **more: Any) -> Response:
    held = holds.every()
    people = {hold.contact_id: db.session.get_one(Contact, hold.contact_id) for hold in held}
    page = render_template(
        "console/privacy/retention.html",
        kinds=rules.PERIODS,
        stays=rules.KEPT_FOREVER,
        typed=typed,
        checked=checked,
        most=periods.MOST_COUNTED,
        now_due=periods.due(periods.current()) if checked is None else {},
        saved=periods.current(),
        holds=held,
        people=people,
        **more,
    )
    return make_response(page, status)


@pages.post("")
@access.require("erase_people")
@staff_session.fresh
def save() -> ResponseReturnValue:
    """Save the periods, when the number that is deleted was shown."""
    try:
        days = _read(request.form)
        seen = request.form.get("seen", "")
        periods.set_all(days, seen=int(seen) if seen.isdecimal() and len(seen) < 10 else 0)
    except Invalid as error:
        abort(_page(422, typed=request.form, errors=error.fields))
    except Conflict as error:
        abort(_page(409, typed=request.form, checked=periods.due(days), errors={"_": [error.message]}))
    flash("Retention periods saved. A job deletes what is over its time once a day.", "success")
    return redirect(url_for(".index"))


@pages.post("/holds")
@access.require("erase_people")
def place_hold() -> ResponseReturnValue:
    """Put a person on legal hold, by the reference of one of their leads."""
    lead = leads.by_reference(request.form.get("reference", "").strip().upper())
    records = service.records_of(lead.contact_id)
    typed = {kind: str(days) for kind, days in periods.current().items()}
    try:
        holds.place(contact_id=records[0], records=records, reason=request.form.get("hold_reason", ""))
    except Invalid as error:
        abort(_page(422, typed=typed, errors=error.fields, hold=request.form))
    except Conflict as error:
        abort(_page(409, typed=typed, errors={"_": [error.message]}, hold=request.form))
    flash(f"Legal hold placed on the person of {lead.reference}. Nothing of theirs is deleted.", "success")
    return redirect(url_for(".index") + "#holds")


@pages.post("/holds/<int:hold_id>/lift")
@access.require("erase_people")
@staff_session.fresh
def lift_hold(hold_id: int) -> ResponseReturnValue:
    """End a legal hold."""
    holds.lift(hold_id)
    flash("Legal hold lifted.", "success")
    return redirect(url_for(".index") + "#holds")
