"""Importing files of people, for staff: upload, what each column is, a dry run, the import, taking it back."""

from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_security import current_user

from crm.audit import service as audit
from crm.core.errors import Invalid
from crm.imports import rules, service
from crm.imports.models import ImportRun
from crm.staff import access

pages = Blueprint("imports", __name__, url_prefix="/import")

KINDS = {"contacts": "Contacts only", "leads": "Leads: each row is somebody who asked to hear from us"}
STATES = {
    "uploaded": "Uploaded", "checking": "Trying out", "checked": "Tried out", "importing": "Importing",
    "done": "Imported", "undoing": "Taking back", "undone": "Taken back", "failed": "Not readable",
}  # fmt: skip


@pages.url_value_preprocessor
def _room_for_a_file(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Every other address takes far less; what is larger than this is not even read."""
    if endpoint == "console.imports.upload":
        request.max_content_length = rules.MOST_BYTES + 1024 * 1024


@pages.get("")
@access.require("manage_contacts")
def index() -> ResponseReturnValue:
    """Upload a file; the last imports."""
    return _index()


def _index(status: int = 200, **more: Any) -> Response:
    page = render_template(
        "console/imports/index.html", runs=service.newest(), kinds=KINDS, states=STATES, **more
    )
    return make_response(page, status)


@pages.post("")
@access.require("manage_contacts")
def upload() -> ResponseReturnValue:
    """Keep a file."""
    file, kind = request.files.get("file"), request.form.get("kind", "")
    try:
        if file is None or not file.filename:
            raise Invalid({"file": ["Choose a CSV file."]})
        run = service.upload(file=file.stream, name=file.filename, kind=kind, user_id=current_user.id)
    except Invalid as error:
        abort(_index(422, errors=error.fields, typed=request.form))
    return redirect(url_for(".show", run_id=run.id))


@pages.get("/<int:run_id>")
@access.require("manage_contacts")
def show(run_id: int) -> ResponseReturnValue:
    """One import: its columns, its dry run, its progress, what came of it."""
    return _show(service.get(run_id))


def _show(run: ImportRun, status: int = 200, **more: Any) -> Response:
    mapped = run.state in ("uploaded", "checked", "failed")
    problems = service.first_problems(run.id) if run.errors and run.state not in service.RUNNING else []
    if mapped or problems:
        audit.record("import.view", object_type="import", object_id=run.id)
    page = render_template(
        "console/imports/show.html",
        run=run,
        header=service.header(run),
        sample=service.sample(run) if mapped else [],
        problems=problems,
        fields=list(rules.FIELDS.items()),
        kinds=KINDS,
        states=STATES,
        running=run.state in service.RUNNING,
        undoable=service.undoable(run),
        undo_until=run.finished_at + rules.UNDO_WITHIN if run.finished_at else None,
        **more,
    )
    return make_response(page, status)


@pages.post("/<int:run_id>/check")
@access.require("manage_contacts")
def check(run_id: int) -> ResponseReturnValue:
    """Remember what the columns are, and try the import out without writing anything."""
    run = service.get(run_id)
    mapping = {
        str(n): chosen for n in range(len(service.header(run))) if (chosen := request.form.get(f"column-{n}"))
    }
    try:
        service.check(run_id=run_id, mapping=mapping, user_id=current_user.id)
    except Invalid as error:
        abort(_show(run, 422, errors={"_": error.fields["mapping"]}, mapping=mapping))
    return redirect(url_for(".show", run_id=run_id))


@pages.post("/<int:run_id>/start")
@access.require("manage_contacts")
def start(run_id: int) -> ResponseReturnValue:
    """Take the rows in."""
    service.start(run_id=run_id)
    return redirect(url_for(".show", run_id=run_id))


@pages.post("/<int:run_id>/undo")
@access.require("manage_contacts")
def undo(run_id: int) -> ResponseReturnValue:
    """Take the whole import back."""
    service.undo(run_id=run_id)
    flash("The import is being taken back.", "success")
    return redirect(url_for(".show", run_id=run_id))


@pages.get("/<int:run_id>/problems.csv")
@access.require("manage_contacts")
def problems(run_id: int) -> ResponseReturnValue:
    """The rows that were refused, with what is wrong, to mend and import again."""
    text = "".join(rules.csv_lines(service.problems(run_id)))
    answer = Response(text.encode("utf-8-sig"), content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="import-{run_id}-problems.csv"'
    return answer
