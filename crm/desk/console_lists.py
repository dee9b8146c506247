"""Lists of leads for staff: filters with a name, acts on many leads at once, the board."""

from datetime import UTC, datetime

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_security import current_user

from crm.audit import service as audit
from crm.core import clock, current
from crm.core.blueprints import ConsolePages
from crm.core.errors import Invalid
from crm.core.flashes import flash_with_undo
from crm.desk import board as boards
from crm.desk import saved_filters, search
from crm.desk.bulk import service as bulk
from crm.desk.bulk.actions import ACTIONS
from crm.desk.list_filters import KINDS, LABELS, address, filter_from
from crm.desk.models import BulkRun
from crm.leads import queries, rules
from crm.staff import access, redirects
from crm.staff import service as staff

pages = ConsolePages("lists", __name__, url_prefix="/leads", part_of="leads")


def _asked() -> dict[str, str]:
    return {name: request.form.get(name, "").strip() for name in LABELS}


@pages.post("/filters")
@access.require("see_leads")
def save_filter() -> ResponseReturnValue:
    """Keep the filters in force under a name."""
    asked = _asked()
    name = request.form.get("name", "")
    kept = saved_filters.save_filter(
        user_id=current_user.id, name=name, shared=request.form.get("shared") == "yes", filters=asked
    )
    flash(gettext("Saved as “%(name)s”.", name=kept.name), "success")
    return redirect(address("console.leads.index", **asked))


@pages.post("/filters/<int:filter_id>/remove")
@access.require("see_leads")
def remove_filter(filter_id: int) -> ResponseReturnValue:
    """Remove one of one's own filters."""
    saved_filters.remove_filter(filter_id=filter_id, user_id=current_user.id)
    flash(gettext("Filter removed."), "success")
    return redirect(url_for("console.leads.index"))


@pages.post("/bulk")
@access.require("work_leads")
def plan_bulk() -> ResponseReturnValue:
    """Look at what an act would do to the picked leads, or to all that match the filters."""
    form = request.form.to_dict()
    if form.get("due_at"):
        form["due_at"] = _clinic_time(form["due_at"])
    if request.form.get("all") == "yes":
        ids = search.find_lead_ids(filter_from(_asked()), limit=bulk.MOST + 1)
    else:
        ids = [int(text) for text in request.form.getlist("pick") if text.isdecimal() and len(text) < 19]
    run = bulk.plan_run(act=form.get("act", ""), form=form, lead_ids=ids, user_id=current_user.id)
    return redirect(url_for(".show_bulk", run_id=run.id, back=redirects.safe_next_url()))


def _clinic_time(text: str) -> str:
    try:
        return (
            datetime.fromisoformat(text).replace(tzinfo=current.calendar().zone).astimezone(UTC).isoformat()
        )
    except ValueError:
        return ""


@pages.get("/bulk/<int:run_id>")
@access.require("work_leads")
def show_bulk(run_id: int) -> ResponseReturnValue:
    """What an act would do, does, or did."""
    run = bulk.get_run(run_id=run_id, user_id=current_user.id)
    return render_template(
        "console/desk/bulk.html",
        run=run,
        what=_what(run),
        summary=bulk.summary(run.id),
        undoable=bulk.is_undoable(run),
        until=run.done_at + bulk.UNDO_WITHIN if run.done_at else None,
        back=redirects.safe_next_url() or url_for("console.leads.index"),
    )


def _what(run: BulkRun) -> str:
    given = run.given
    if run.act == "assign":
        names = {user.id: user.name for user in staff.at_work()}
        owner = names.get(given["owner_id"], gettext("a former staff member"))
        said = gettext("Assign to %(name)s", name=owner) if given["owner_id"] else gettext("Unassign")
    elif run.act == "tag":
        said = gettext("Add the tag “%(tag)s”", tag=given["tag"])
    elif run.act == "task":
        said = gettext("Add the task “%(title)s”", title=given["title"])
    elif run.act == "move":
        said = gettext("Move to “%(stage)s”", stage=rules.label(given["to"]))
    else:
        said = gettext(ACTIONS[run.act].label)
    return str(said)


@pages.post("/bulk/<int:run_id>/do")
@access.require("work_leads")
def do_bulk(run_id: int) -> ResponseReturnValue:
    """Do what was planned."""
    run = bulk.start_run(run_id=run_id, user_id=current_user.id)
    if run.state != "done":
        return redirect(url_for(".show_bulk", run_id=run.id, back=redirects.safe_next_url()))
    found = bulk.summary(run.id)
    text = ngettext("%(num)s lead changed.", "%(num)s leads changed.", found.done)
    if found.total > found.done:
        text += " " + ngettext("%(num)s unchanged.", "%(num)s unchanged.", found.total - found.done)
    undo = url_for(".undo_bulk", run_id=run.id, back=redirects.safe_next_url())
    flash_with_undo(text, undo=undo)
    return redirect(redirects.safe_next_url() or url_for("console.leads.index"))


@pages.post("/bulk/<int:run_id>/undo")
@access.require("work_leads")
def undo_bulk(run_id: int) -> ResponseReturnValue:
    """Take an act back."""
    run = bulk.undo_run(run_id=run_id, user_id=current_user.id)
    return redirect(url_for(".show_bulk", run_id=run.id, back=redirects.safe_next_url()))


@pages.get("/board")
@access.require("see_leads")
def board() -> ResponseReturnValue:
    """Open leads in columns, one for each stage."""
    kind = request.args.get("kind") or rules.CONTACT_REQUEST
    if kind not in rules.KINDS:
        raise Invalid({"kind": ["Lead kind not found."]})
    mine = request.args.get("owner") == "me"
    stage, cursor = request.args.get("stage", ""), request.args.get("cursor")
    columns = boards.load_board(kind, owner=current_user.id if mine else None, stage=stage, cursor=cursor)
    ids = [lead.id for column in columns for lead in column.leads]
    audit.record("lead.board", detail={"kind": kind, "ids": ids})
    return render_template(
        "console/desk/board.html",
        kind=kind,
        kinds=KINDS,
        mine=mine,
        columns=columns,
        in_crisis=queries.people_in_crisis(),
        ways=boards.drop_targets,
        code_label=rules.label,
        now=clock.now(),
    )
