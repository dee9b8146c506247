"""Consultation pages: calendar by day and week, lists, absences, and the private calendar address."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import current_user

from crm.audit import service as audit
from crm.consultations import calendars, day_grid, queries, service
from crm.consultations.day_grid import Column
from crm.consultations.models import Absence, Consultation
from crm.core import clock, current
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid
from crm.leads.queries import people_in_crisis
from crm.staff import access
from crm.staff import service as staff

pages = ConsolePages(
    "consultations",
    __name__,
    url_prefix="/consultations",
    entries=[ConsoleEntry(label="Consultations", permission="see_leads", order=12)],
)

WEEK, DAY = "week", "day"
NOBODY = "nobody"
FAR = timedelta(days=3660)


@pages.get("")
@access.require("see_leads")
def index() -> ResponseReturnValue:
    """Consultations of a week or a day in clinic time."""
    view, day = request.args.get("view", WEEK), _day("day") or _next_open_day()
    if view not in (WEEK, DAY):
        raise Invalid({"view": ["Calendar view not found."]})
    first = day - timedelta(days=day.weekday()) if view == WEEK else day
    last = first + timedelta(days=6) if view == WEEK else day
    held = queries.between(first, last, clinician_id=_who(), room_id=_room())
    away = queries.absences(first, last)
    columns = _days(held, away, first) if view == WEEK else _people(held, away, day)
    audit.record("consultation.calendar", detail={"view": view, "ids": [one.lead_id for one in held]})
    step = timedelta(days=7 if view == WEEK else 1)
    return render_template(
        "console/consultations/calendar.html",
        day=day,
        first=first,
        last=last,
        columns=columns,
        rows=day_grid.rows(columns, calendar=current.calendar()),
        is_full=len(held) == queries.IN_CALENDAR,
        earlier=_here(view=view, day=day - step),
        later=_here(view=view, day=day + step),
        **_common(view),
    )


@pages.get("/list")
@access.require("see_leads")
def show_list() -> ResponseReturnValue:
    """One list: upcoming, without an outcome, no-shows, or all."""
    name = request.args.get("list", "coming")
    if name not in queries.LISTS:
        raise Invalid({"list": ["List not found."]})
    shown = queries.load_list(name, clinician_id=_who(), room_id=_room(), cursor=request.args.get("cursor"))
    audit.record("consultation.list", detail={"list": name, "ids": [one.lead_id for one in shown.rows]})
    return render_template(
        "console/consultations/list.html",
        name=name,
        lists=queries.LISTS,
        shown=shown.rows,
        next_page=_here(".show_list", list=name, cursor=shown.next) if shown.next else None,
        **_common("list"),
    )


def _common(view: str) -> dict[str, Any]:
    zone = current.calendar().zone
    return {
        "view": view,
        "who": request.args.get("who", ""),
        "room": request.args.get("room", ""),
        "rooms": [(room.id, room.name) for room in queries.rooms()],
        "clinicians": [(user.id, user.name) for user in service.clinicians()],
        "in_crisis": people_in_crisis(),
        "today": clock.today(),
        "outcome_before": queries.day_start(clock.today()),
        "clock_of": lambda one: one.starts_at.astimezone(zone).strftime("%-I:%M %p"),
    }


def _here(endpoint: str = ".index", **arguments: Any) -> str:
    who, room = request.args.get("who") or None, request.args.get("room") or None
    return url_for(endpoint, who=who, room=room, **arguments)


def _day(field: str) -> date | None:
    text = (request.values.get(field) or "").strip()
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError as error:
        raise Invalid({field: ["Enter a day."]}) from error
    if abs(found - clock.today()) > FAR:
        raise Invalid({field: ["Choose a day within ten years."]})
    return found


def _next_open_day() -> date:
    calendar = current.calendar()
    return calendar.next_open(clock.now()).astimezone(calendar.zone).date()


def _who() -> int | None:
    """Return the id of the clinician that the page is limited to; 0 for none yet, None for all. Raises Invalid."""
    return _chosen("who", "Clinician not found.")


def _room() -> int | None:
    """Return the id of the room that the page is limited to; 0 for none yet, None for all. Raises Invalid."""
    return _chosen("room", "Room not found.")


def _chosen(field: str, wrong: str) -> int | None:
    text = request.args.get(field, "")
    if text in ("", NOBODY):
        return 0 if text else None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Invalid({field: [wrong]})
    return int(text)


def _days(held: Sequence[Consultation], away: Sequence[Absence], first: date) -> list[Column]:
    calendar, zone = current.calendar(), current.calendar().zone
    by_day: dict[date, list[Consultation]] = {}
    for one in held:
        by_day.setdefault(one.starts_at.astimezone(zone).date(), []).append(one)
    return [
        Column(
            heading=f"{day:%a %-d}",
            day=day,
            items=by_day.get(day, []),
            note=_closed(day),
            absent=_absent(away, day),
        )
        for day in day_grid.days_shown(first, calendar=calendar, busy=frozenset(by_day))
    ]


def _absent(away: Sequence[Absence], day: date) -> str:
    names = [one.user.name for one in away if one.first_day <= day <= one.last_day]
    return gettext("Absent: %(names)s", names=", ".join(names)) if names else ""


def _people(held: Sequence[Consultation], away: Sequence[Absence], day: date) -> list[Column]:
    wanted, absent, closed = _who(), {one.user_id for one in away}, _closed(day)
    return [
        Column(
            heading=name,
            day=day,
            items=[one for one in held if (one.clinician_id or 0) == user_id],
            note=closed or (gettext("Absent") if user_id in absent else ""),
        )
        for user_id, name in _seeing(held)
        if wanted is None or wanted == user_id
    ]


def _seeing(held: Sequence[Consultation]) -> list[tuple[int, str]]:
    """Return who may see people on a day, those who left the clinic but have consultations included; 0: not decided."""
    people = {user.id: user.name for user in service.clinicians()}
    people |= {one.clinician.id: one.clinician.name for one in held if one.clinician}
    return [*people.items(), (0, gettext("Not decided"))]


def _closed(day: date) -> str:
    return gettext("Closed") if current.calendar().opening(day) is None else ""


@pages.get("/setup")
@access.require("see_leads")
def setup() -> ResponseReturnValue:
    """Absences of clinicians, and the private calendar address of the signed-in user."""
    return _render_setup()


def _render_setup(status: int = 200, errors: dict[str, list[str]] | None = None) -> tuple[str, int]:
    feed = queries.feed_of(current_user.id)
    token = calendars.feed_token(feed) if feed is not None else None
    page = render_template(
        "console/consultations/setup.html",
        feed=feed,
        feed_address=current.settings().public_url + url_for("calendar_feed.feed", token=token)
        if token
        else None,
        may_have_feed=staff.may_work_leads(current_user),
        absences=queries.absences(clock.today()),
        errors=errors or {},
        typed=request.form,
        **_common("setup"),
    )
    return page, status


@pages.post("/absences")
@access.require("work_leads")
def add_absence() -> ResponseReturnValue:
    """Add the absence of a clinician."""
    try:
        first, user = _day("first_day"), request.form.get("user", "")
        if first is None:
            raise Invalid({"first_day": ["Enter a day."]})
        user_id = int(user) if user.isascii() and user.isdigit() and len(user) < 19 else 0
        calendars.add_absence(user_id=user_id, first_day=first, last_day=_day("last_day") or first)
    except Invalid as error:
        return _render_setup(422, dict(error.fields))
    flash(gettext("Absence added. Consultations that are booked on these days stay."), "success")
    return redirect(url_for(".setup"))


@pages.post("/absences/<int:absence_id>/remove")
@access.require("work_leads")
def remove_absence(absence_id: int) -> ResponseReturnValue:
    """Remove an absence."""
    calendars.remove_absence(absence_id)
    flash(gettext("Absence removed."), "success")
    return redirect(url_for(".setup"))


@pages.post("/feed")
@access.require("work_leads")
def make_feed() -> ResponseReturnValue:
    """Make a private calendar address for the signed-in user; an earlier one ends."""
    calendars.make_feed(user_id=current_user.id, everyone=request.form.get("everyone") == "yes")
    flash(gettext("This is your new calendar address. An earlier one no longer works."), "success")
    return redirect(url_for(".setup") + "#feed")


@pages.post("/feed/end")
@access.require("work_leads")
def end_feed() -> ResponseReturnValue:
    """End the private calendar address of the signed-in user."""
    calendars.end_feed(user_id=current_user.id)
    flash(gettext("Your calendar address no longer works."), "success")
    return redirect(url_for(".setup") + "#feed")
