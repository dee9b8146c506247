"""Portal users of a practice, and its poster: invite, approve, close."""

from flask import Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from crm.audit import service as audit
from crm.core import current
from crm.core.blueprints import ConsolePages
from crm.core.errors import Invalid
from crm.desk.practices.practice_page import render_practice
from crm.referrers import accounts, poster
from crm.staff import access

pages = ConsolePages("referrers", __name__, url_prefix="/referrers", part_of="practices")


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
        abort(render_practice(practice, 422, errors=error.fields, typed=request.form))
    flash("Invitation sent. The link works once, within three days.", "success")
    return redirect(url_for("console.practices.show", practice_id=practice.id))


@pages.post("/people/<int:person_id>/approve")
@access.require("manage_referrers")
def approve(person_id: int) -> ResponseReturnValue:
    """Approve a requested account, after calling the practice, or reopen a closed one."""
    person = accounts.get(person_id)
    accounts.approve(person_id)
    flash("Approved. A sign-in link was sent; it works once, within three days.", "success")
    return redirect(url_for("console.practices.show", practice_id=person.practice_id))


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
    return redirect(url_for("console.practices.show", practice_id=person.practice_id))


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
    return redirect(url_for("console.practices.show", practice_id=practice.id))
