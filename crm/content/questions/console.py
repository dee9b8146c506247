"""Answers to the claims check, given at the sentence on the page of a version."""

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from crm.content import approval
from crm.content.page_context import actor, roles
from crm.content.questions import service
from crm.core.blueprints import ConsolePages
from crm.staff import access
from crm.staff.sign_in import staff_session

pages = ConsolePages("questions", __name__, url_prefix="/content/questions", part_of="content")


@pages.post("/versions/<int:version_id>")
@access.require("review_content")
@staff_session.own
def answer(version_id: int) -> ResponseReturnValue:
    """Record a reviewer's answer about one sentence."""
    found = approval.get(version_id, lock=True)
    form = request.form
    service.answer(
        found,
        authors=approval.authors(found),
        actor=actor(),
        roles=roles(),
        digest=form.get("digest", ""),
        verdict=form.get("verdict", ""),
        claim=form.get("claim", ""),
        reason=form.get("reason", ""),
    )
    flash("Answer recorded.", "success")
    return redirect(url_for("console.content.version", version_id=version_id, _anchor="claims"))
