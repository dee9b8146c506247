"""Console pages of referring practices and their portal users."""

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
from sqlalchemy import func, select

from crm.audit import service as audit
from crm.core import current
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.db import db
from crm.core.errors import Invalid
from crm.core.paging import Page, decode, encode
from crm.referrers import accounts, poster
from crm.referrers.models import Clinician, Practice
from crm.staff import access

pages = ConsolePages(
    "referrers",
    __name__,
    url_prefix="/referrers",
    entries=[ConsoleEntry(label="Referrers", permission="manage_referrers", order=20)],
)

ROWS = 50


@pages.get("/")
@access.require("manage_referrers")
def index() -> ResponseReturnValue:
    """List practices and the portal users who wait for approval."""
    q = request.args.get("q", "").strip()[:100]
    found = _practices(q, request.args.get("cursor"))
    return render_template(
        "console/referrers/index.html",
        practices=found.rows,
        waiting=accounts.waiting(),
        q=q,
        older=url_for(".index", q=q or None, cursor=found.next) if found.next else None,
    )


def _practices(q: str, cursor: str | None) -> Page[Practice]:
    query = select(Practice)
    if q:
        query = query.where(func.lower(Practice.name).startswith(q.lower(), autoescape=True))
    if cursor:
        query = query.where(Practice.id < decode(cursor, [int])[0])
    found = db.session.scalars(query.order_by(Practice.id.desc()).limit(ROWS + 1)).all()
    rows = found[:ROWS]
    return Page(rows=rows, next=encode(rows[-1].id) if len(found) > ROWS else None)


@pages.get("/<int:practice_id>")
@access.require("manage_referrers")
def show(practice_id: int) -> ResponseReturnValue:
    """Show one practice."""
    return _show(accounts.practice(practice_id))


def _show(practice: Practice, status: int = 200, **more: Any) -> Response:
    audit.record("practice.view", object_type="practice", object_id=practice.id)
    clinicians = db.session.scalars(
        select(Clinician).where(Clinician.practice_id == practice.id).order_by(Clinician.name).limit(200)
    ).all()
    page = render_template(
        "console/referrers/practice.html",
        practice=practice,
        clinicians=clinicians,
        people=accounts.people_of(practice.id),
        **more,
    )
    return make_response(page, status)


@pages.get("/<int:practice_id>/poster")
@access.require("manage_referrers")
def show_poster(practice_id: int) -> ResponseReturnValue:
    """Show the practice's poster, to print."""
    return render_template("console/referrers/poster.html", practice=accounts.practice(practice_id))


@pages.get("/<int:practice_id>/poster.svg")
@access.require("manage_referrers")
def qr_code(practice_id: int) -> ResponseReturnValue:
    """Return the QR code of the poster."""
    url = current.settings().public_url
    code = poster.qr_code(accounts.practice(practice_id).id, public_url=url)
    return Response(code, mimetype="image/svg+xml")


@pages.post("/<int:practice_id>/people")
@access.require("manage_referrers")
def invite(practice_id: int) -> ResponseReturnValue:
    """Invite a person at the practice to the portal."""
    practice = accounts.practice(practice_id)
    try:
        accounts.invite(
            practice_id=practice.id,
            name=request.form.get("name", ""),
            email=request.form.get("email", ""),
            language=request.form.get("language", "en"),
            zone=current.settings().clinic.time_zone,
        )
    except Invalid as error:
        abort(_show(practice, 422, errors=error.fields, typed=request.form))
    flash("Invitation sent. The link works once, within three days.", "success")
    return redirect(url_for(".show", practice_id=practice.id))


@pages.post("/people/<int:person_id>/approve")
@access.require("manage_referrers")
def approve(person_id: int) -> ResponseReturnValue:
    """Approve a requested account, after calling the practice, or reopen a closed one."""
    person = accounts.get(person_id)
    accounts.approve(person_id)
    flash("Approved. A sign-in link was sent; it works once, within three days.", "success")
    return redirect(url_for(".show", practice_id=person.practice_id))


@pages.post("/people/<int:person_id>/close")
@access.require("manage_referrers")
def close(person_id: int) -> ResponseReturnValue:
    """Refuse a requested account, or close one."""
    person = accounts.get(person_id)
    accounts.close(person_id)
    undo = {
        "text": "Account closed. This portal user is signed out, and their links no longer work.",
        "undo": url_for(".approve", person_id=person_id),
    }
    flash(undo, "success")  # type: ignore[arg-type]
    return redirect(url_for(".show", practice_id=person.practice_id))


@pages.post("/<int:practice_id>/initials")
@access.require("manage_referrers")
def initials(practice_id: int) -> ResponseReturnValue:
    """Show or hide patients' initials in the practice's list."""
    practice = accounts.practice(practice_id)
    practice.show_initials = request.form.get("show") == "yes"
    audit.record(
        "practice.initials",
        object_type="practice",
        object_id=practice.id,
        detail={"show": practice.show_initials},
    )
    flash("Saved.", "success")
    return redirect(url_for(".show", practice_id=practice.id))
