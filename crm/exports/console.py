"""Console pages for exports, for administrators: export data for a stated purpose, download it by a link that expires."""

from collections.abc import Iterator
from typing import Any

from flask import (
    Response,
    abort,
    current_app,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_security import current_user

from crm.core import tokens
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid
from crm.core.tokens import Purpose
from crm.exports import service
from crm.exports.models import ExportState
from crm.staff import access
from crm.staff.sign_in import staff_session

pages = ConsolePages(
    "exports",
    __name__,
    url_prefix="/export",
    entries=[ConsoleEntry(label="Export", permission="export_people", order=71, section="People")],
)

KINDS = {"contacts": "Contacts", "leads": "Leads"}
FORMS = {"csv": "CSV", "xlsx": "Excel"}


def _may_read_clinical() -> bool:
    return access.has_permission((role.name for role in current_user.roles), "read_clinical")


@pages.get("")
@access.require("export_people")
def index() -> ResponseReturnValue:
    """Show the export form and the files that can be downloaded."""
    return _index()


def _index(status: int = 200, **more: Any) -> Response:
    files = [
        (export, url_for(".download", token=tokens.sign(Purpose.DOWNLOAD, export.id)))
        for export in service.latest(user_id=current_user.id)
    ]
    page = render_template(
        "console/exports/index.html", files=files, kinds=KINDS, forms=FORMS,
        waiting=any(export.state == ExportState.ASKED for export, _ in files), clinical=_may_read_clinical(), **more,
    )  # fmt: skip
    return make_response(page, status)


@pages.post("")
@access.require("export_people")
@staff_session.fresh
@staff_session.tells_owner("export")
def create() -> ResponseReturnValue:
    """Export data."""
    try:
        service.request_export(
            kind=request.form.get("kind", ""),
            form=request.form.get("form", ""),
            purpose=request.form.get("purpose", ""),
            clinical=request.form.get("clinical") == "yes",
            may_read_clinical=_may_read_clinical(),
            user_id=current_user.id,
        )
    except Invalid as error:
        abort(_index(422, errors=error.fields, typed=request.form))
    return redirect(url_for(".index"))


@pages.get("/<token>")
@access.require("export_people")
def download(token: str) -> ResponseReturnValue:
    """Download a file; only for the person who exported it, until it expires."""
    export_id, _ = tokens.read(Purpose.DOWNLOAD, token)
    export = service.get_own(export_id=export_id, user_id=current_user.id)
    pieces = _with_app_context(service.content(export))
    answer = Response(pieces, content_type=service.FORMS[export.form])
    answer.headers["Content-Disposition"] = f'attachment; filename="{export.kind}.{export.form}"'
    return answer


def _with_app_context(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Read each piece in a new app context, because the request's has ended when the server sends the response."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def sent() -> Iterator[bytes]:
        while True:
            with app.app_context():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    return sent()
