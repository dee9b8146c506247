"""Exporting files of people, for administrators: asked for with a purpose, fetched by a link that ends."""

from collections.abc import Iterator
from typing import Any

from flask import (
    Blueprint,
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
from crm.core.errors import Invalid
from crm.core.tokens import Purpose
from crm.exports import service
from crm.staff import access

pages = Blueprint("exports", __name__, url_prefix="/export")

KINDS = {"contacts": "Contacts", "leads": "Leads"}
FORMS = {"csv": "CSV", "xlsx": "Excel"}


def _may_read_clinical() -> bool:
    return access.has_permission((role.name for role in current_user.roles), "read_clinical")


@pages.get("")
@access.require("export_people")
def index() -> ResponseReturnValue:
    """Ask for a file; those that can be fetched."""
    return _index()


def _index(status: int = 200, **more: Any) -> Response:
    files = [
        (export, url_for(".fetch", token=tokens.sign(Purpose.DOWNLOAD, export.id)))
        for export in service.newest(user_id=current_user.id)
    ]
    page = render_template(
        "console/exports/index.html", files=files, kinds=KINDS, forms=FORMS,
        waiting=any(export.state == "asked" for export, _ in files), clinical=_may_read_clinical(), **more,
    )  # fmt: skip
    return make_response(page, status)


@pages.post("")
@access.require("export_people")
def ask() -> ResponseReturnValue:
    """Ask for a file."""
    try:
        service.ask(
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
def fetch(token: str) -> ResponseReturnValue:
    """The file itself, for who asked for it and until its time is over."""
    export_id, _ = tokens.read(Purpose.DOWNLOAD, token)
    export = service.own(export_id=export_id, user_id=current_user.id)
    pieces = _each_in_its_context(service.content(export))
    answer = Response(pieces, content_type=service.FORMS[export.form])
    answer.headers["Content-Disposition"] = f'attachment; filename="{export.kind}.{export.form}"'
    return answer


def _each_in_its_context(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The request and its context are over when the server asks for what is to be sent."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def sent() -> Iterator[bytes]:
        while True:
            with app.app_context():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    return sent()
