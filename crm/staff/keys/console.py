"""Console page of API keys: make, scope, end and revoke them; when each was last used."""

from typing import Any

from flask import Response, abort, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from crm.core import clock
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid
from crm.staff import access
from crm.staff.keys import api_keys
from crm.staff.sign_in import staff_session

pages = ConsolePages(
    "api_keys",
    __name__,
    url_prefix="/api-keys",
    entries=[ConsoleEntry(label="API keys", permission="change_settings", order=83, section="Settings")],
)

SCOPES = {
    "contact-requests:write": "Send contact requests",
    "referrals:write": "Send referrals",
    "leads:read": "Read leads",
    "leads:work": "Work on leads: stages, tasks, calls",
    "campaigns:write": "Prepare broadcasts",
    "messages:read": "Read what was sent, and why",
}
LIVES = {"30": "30 days", "90": "90 days", "365": "A year", "": "No end"}


@pages.get("")
@access.require("change_settings")
def index() -> ResponseReturnValue:
    """List the keys, with the form to make one."""
    return _page()


def _page(status: int = 200, **more: Any) -> Response:
    page = render_template(
        "console/staff/api_keys.html",
        keys=api_keys.every(),
        scopes=SCOPES,
        lives=list(LIVES.items()),
        now=clock.now(),
        **more,
    )
    return make_response(page, status)


@pages.post("")
@access.require("change_settings")
@staff_session.fresh
def create() -> ResponseReturnValue:
    """Make a key and show it once."""
    life = request.form.get("days", "90")
    try:
        if life not in LIVES:
            raise Invalid({"days": ["Choose how long the key works."]})
        _, plain = api_keys.create(
            name=request.form.get("name", ""),
            scopes=request.form.getlist("scope"),
            days=int(life) if life else None,
        )
    except Invalid as error:
        abort(_page(422, errors=error.fields, typed=request.form))
    return _page(plain=plain)


@pages.post("/<int:key_id>/revoke")
@access.require("change_settings")
@staff_session.fresh
def revoke(key_id: int) -> ResponseReturnValue:
    """Revoke a key."""
    api_keys.revoke(key_id)
    flash("Key revoked. It opens nothing from now on.", "success")
    return redirect(url_for(".index"))
