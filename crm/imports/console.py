"""Console pages for imports: upload a CSV file, choose its columns, check it, import it, undo it."""

from typing import Any

from flask import (
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
from crm.core import csv_files
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid
from crm.imports import rules, service
from crm.imports.models import ImportRun, ImportState
from crm.imports.texts import KINDS, STATES, file_problem
from crm.staff import access

pages = ConsolePages(
    "imports",
    __name__,
    url_prefix="/import",
    entries=[ConsoleEntry(label="Import", permission="manage_contacts", order=70, section="People")],
)


@pages.url_value_preprocessor
def _raise_body_limit(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Accept a large body on the upload page only."""
    if endpoint == "console.imports.upload":
        request.max_content_length = rules.MOST_BYTES + 1024 * 1024


@pages.get("")
@access.require("manage_contacts")
def index() -> ResponseReturnValue:
    """Show the upload form and the last imports."""
    return _index()


def _index(status: int = 200, **more: Any) -> Response:
    page = render_template(
        "console/imports/index.html", runs=service.latest(), kinds=KINDS, states=STATES, **more
    )
    return make_response(page, status)


@pages.post("")
@access.require("manage_contacts")
def upload() -> ResponseReturnValue:
    """Store an uploaded file."""
    file, kind = request.files.get("file"), request.form.get("kind", "")
    try:
        if file is None or not file.filename:
            raise Invalid({"file": [file_problem(csv_files.BadFile("required"))]})
        run = service.upload(file=file.stream, name=file.filename, kind=kind, user_id=current_user.id)
    except Invalid as error:
        abort(_index(422, errors=error.fields, typed=request.form))
    return redirect(url_for(".show", run_id=run.id))


@pages.get("/<int:run_id>")
@access.require("manage_contacts")
def show(run_id: int) -> ResponseReturnValue:
    """Show an import: its columns, check, progress and result."""
    return _show(service.get(run_id))


def _show(run: ImportRun, status: int = 200, **more: Any) -> Response:
    mapped = run.state in (ImportState.UPLOADED, ImportState.CHECKED, ImportState.FAILED)
    problems = [] if run.state in service.RUNNING else service.first_problems(run.id)
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
    """Store the chosen columns and check the file without writing."""
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
    """Import the rows."""
    service.start(run_id=run_id)
    return redirect(url_for(".show", run_id=run_id))


@pages.post("/<int:run_id>/undo")
@access.require("manage_contacts")
def undo(run_id: int) -> ResponseReturnValue:
    """Undo the whole import."""
    service.request_undo(run_id=run_id)
    flash("The import is being undone.", "success")
    return redirect(url_for(".show", run_id=run_id))


@pages.get("/<int:run_id>/problems.csv")
@access.require("manage_contacts")
def problems(run_id: int) -> ResponseReturnValue:
    """Download the listed rows with what is wrong, to fix and import again."""
    text = "".join(csv_files.csv_lines(service.problems(run_id)))
    answer = Response(text.encode("utf-8-sig"), content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="import-{run_id}-problems.csv"'
    return answer
