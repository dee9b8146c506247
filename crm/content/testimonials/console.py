"""Console pages for patients' written authorizations: record, list, show and revoke."""

from datetime import date
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
from flask_babel import format_date

from crm.audit import service as audit
from crm.content import catalog
from crm.content.models import Authorization
from crm.content.page_context import actor, shared
from crm.content.testimonials import rules, service
from crm.core import clock
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid
from crm.staff import access

pages = ConsolePages(
    "authorizations",
    __name__,
    url_prefix="/content/authorizations",
    entries=[ConsoleEntry(label="Testimonials", permission="see_content", order=42, section="Content")],
)


@pages.get("")
@access.require("see_content")
def index() -> ResponseReturnValue:
    """All of them: what they let us print, and until when."""
    return _index()


def _index(status: int = 200, **more: Any) -> Response:
    rows = service.all_authorizations()
    page = render_template(
        "console/content/testimonials.html",
        rows=rows,
        worth=worth,
        day=format_date,
        statements=list(rules.STATEMENTS.items()),
        today=clock.today().isoformat(),
        **more,
        **shared(),
    )
    return make_response(page, status)


def worth(one: Authorization) -> str:
    """Return whether an authorization holds today: approved, expired or stopped."""
    if one.revoked_at is not None:
        return "stopped"
    return "approved" if service.is_valid(one, now=clock.now()) else "expired"


@pages.post("")
@access.require("keep_authorizations")
def record() -> ResponseReturnValue:
    """Record what a patient signed."""
    form = request.form
    try:
        made = service.record(
            person=form.get("person", ""),
            kept_at=form.get("kept_at", ""),
            language=form.get("language", ""),
            words=form.get("words", ""),
            signed_on=_day("signed_on"),
            ends_on=_day("ends_on"),
            stated=form.getlist("stated"),
            actor=actor(),
        )
    except Invalid as error:
        abort(_index(422, errors=error.fields, typed=form, ticked=form.getlist("stated")))
    flash(f"Saved as {made.reference}.", "success")
    return redirect(url_for(".show", authorization_id=made.id))


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(request.form.get(name, ""))
    except ValueError:
        return None


@pages.get("/<int:authorization_id>")
@access.require("see_content")
def show(authorization_id: int) -> ResponseReturnValue:
    """Show an authorization. Only record keepers see who signed; each view is recorded."""
    found = service.get(authorization_id)
    audit.record("authorization.seen", object_type="content_authorization", object_id=found.id)
    return render_template(
        "console/content/testimonial.html",
        one=found,
        day=format_date,
        worth=worth(found),
        statements=[rules.STATEMENTS[key] for key in found.stated if key in rules.STATEMENTS],
        users=service.versions_using(found),
        names=catalog.display_names([found.recorded_by, found.revoked_by]),
        **shared(),
    )


@pages.post("/<int:authorization_id>/revoke")
@access.require("keep_authorizations")
def revoke(authorization_id: int) -> ResponseReturnValue:
    """Record that the person revoked an authorization."""
    held = service.revoke(authorization_id, actor=actor())
    count = "1 email" if len(held) == 1 else f"{len(held)} emails"
    said = f"{count} with these words can no longer be sent." if held else "No live email uses these words."
    flash(f"Revoked. {said}", "success")
    return redirect(url_for(".show", authorization_id=authorization_id))
