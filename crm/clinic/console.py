"""Console page of the clinic's facts, logo and color, and the test email."""

from collections.abc import Callable
from typing import Any

from flask import Response, abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import current_user

from crm.clinic import rules, service
from crm.consultations import queries, rooms
from crm.content import service as content
from crm.core import current, time_zones
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Conflict, Invalid
from crm.core.us_states import STATES
from crm.messages import test_send
from crm.staff import access
from crm.staff.sign_in import staff_session

pages = ConsolePages(
    "clinic",
    __name__,
    url_prefix="/clinic",
    entries=[ConsoleEntry(label="Clinic", permission="change_settings", order=79, section="Settings")],
)
TEST_EMAIL = "staff-notice"  # every installation has it approved before staff sign in


@pages.get("")
@access.require("change_settings")
def index() -> ResponseReturnValue:
    """Show the facts, with the form to change them."""
    return _page(typed=service.stored())


def _page(status: int = 200, *, typed: Any, **more: Any) -> Response:
    page = render_template(
        "console/clinic/index.html",
        facts=rules.FACTS,
        sections=list(dict.fromkeys(fact.section for fact in rules.FACTS.values())),
        typed=typed,
        given=service.from_environment(),
        shown=current.settings().clinic,
        gaps=current.settings().clinic_gaps,
        zones=[(name, name) for name in sorted(time_zones.NAMES)],
        states=STATES,
        rooms=queries.rooms(),
        **more,
    )
    return make_response(page, status)


@pages.post("")
@access.require("change_settings")
@staff_session.fresh
def save() -> ResponseReturnValue:
    """Save the facts."""
    try:
        service.save(request.form)
    except Invalid as error:
        abort(_page(422, typed=request.form, errors=error.fields))
    flash("Saved. All pages and emails follow within a few seconds.", "success")
    return redirect(url_for(".index"))


@pages.post("/logo")
@access.require("change_settings")
def save_logo() -> ResponseReturnValue:
    """Save or remove the logo."""
    if request.form.get("remove") == "yes":
        service.remove_logo()
        flash("Logo removed.", "success")
        return redirect(url_for(".index"))
    file = request.files.get("logo")
    try:
        service.save_logo(file.stream.read(rules.MOST_LOGO + 1) if file else b"")
    except Invalid as error:
        abort(_page(422, typed=service.stored(), errors=error.fields))
    flash("Logo saved.", "success")
    return redirect(url_for(".index"))


@pages.post("/rooms")
@access.require("change_settings")
def add_room() -> ResponseReturnValue:
    """Add a room."""
    return _changed_room(lambda: rooms.add(request.form.get("room", "")), gettext("Room added."))


@pages.post("/rooms/<int:room_id>")
@access.require("change_settings")
def change_room(room_id: int) -> ResponseReturnValue:
    """Rename or remove a room."""
    if request.form.get("do") == "remove":
        said = gettext(
            "Room removed. Consultations that are booked in it stay. Add it again to bring it back."
        )
        return _changed_room(lambda: rooms.remove(room_id), said)
    return _changed_room(lambda: rooms.rename(room_id, request.form.get("name", "")), gettext("Saved."))


def _changed_room(act: Callable[[], object], said: str) -> ResponseReturnValue:
    """Do an act on a room and say so, or show the page with what is wrong."""
    try:
        act()
    except Invalid as error:
        abort(_page(422, typed=service.stored(), errors=error.fields))
    flash(said, "success")
    return redirect(url_for(".index") + "#rooms")


@pages.post("/test-email")
@access.require("change_settings")
def send_test() -> ResponseReturnValue:
    """Send a test email to the reader's own address."""
    version = content.transactional_version(TEST_EMAIL, language="en")
    if version is None:
        raise Conflict("The email “About your account” has no approved text yet. Approve it under Content.")
    settings = current.settings()
    if settings.clinic_gaps:
        raise Conflict("Fill in the facts of the clinic first: an email needs a sender and a postal address.")
    if test_send.send_to(user_id=current_user.id, version_id=version.id, settings=settings):
        flash(f"Test email sent to {current_user.email}.", "success")
    else:
        flash("The mail provider did not accept the test email. Run the checks on the page Set-up.", "danger")
    return redirect(url_for(".index"))
