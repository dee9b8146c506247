"""Exceptions asked for, signed and ended on the page of a version."""

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from crm.content import approval, claims_gate
from crm.content import service as content
from crm.content.exceptions import service
from crm.content.page_context import actor, roles
from crm.core.blueprints import ConsolePages
from crm.core.errors import NotAllowed
from crm.staff import access
from crm.staff.sign_in import staff_session

pages = ConsolePages("exceptions", __name__, url_prefix="/content/exceptions", part_of="content")


@pages.post("/versions/<int:version_id>")
@access.require("review_content")
def request_exception(version_id: int) -> ResponseReturnValue:
    """Ask for an exception for one finding."""
    version = approval.get(version_id)
    form = request.form
    blocks = content.current_blocks(version.language)
    service.request_exception(
        version,
        found=claims_gate.blocking(version.source, blocks=blocks, host=content.host()),
        digest=form.get("digest", ""),
        reason=form.get("reason", ""),
        days=form.get("days", 0, type=int),
        actor=actor(),
    )
    flash(gettext("Asked. A clinician and an administrator sign it here."), "success")
    return _claims(version_id)


@pages.post("/<int:exception_id>/sign")
@access.require("review_content")
@staff_session.own
def sign(exception_id: int) -> ResponseReturnValue:
    """Sign as clinician or administrator."""
    row = service.get(exception_id)
    row = service.sign(
        exception_id,
        as_role=request.form.get("as", ""),
        actor=actor(),
        roles=roles(),
        authors=approval.authors(approval.get(row.version_id)),
    )
    flash(
        gettext("Signed. The exception is in force.")
        if row.is_signed
        else gettext("Signed. One more signature is needed."),
        "success",
    )
    return _claims(row.version_id)


@pages.post("/<int:exception_id>/end")
@access.require("review_content")
def end(exception_id: int) -> ResponseReturnValue:
    """Decline an exception, or end it before its time."""
    row = service.get(exception_id)
    if not {"clinician", "admin"} & set(roles()) and row.asked_by != actor():
        raise NotAllowed(gettext("Only a clinician, an administrator or the person who asked can end it."))
    service.end(exception_id, actor=actor())
    flash(gettext("The exception has ended."), "success")
    return _claims(row.version_id)


def _claims(version_id: int) -> ResponseReturnValue:
    return redirect(url_for("console.content.version", version_id=version_id, _anchor="claims"))
