"""Notification pages: what waits for the reader, and what they chose to be notified about."""

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext
from flask_security import current_user

from crm.core.blueprints import ConsolePages
from crm.staff import access
from crm.staff.notifications import service
from crm.staff.notifications.texts import TITLES

pages = ConsolePages("notifications", __name__, url_prefix="/notifications")


@pages.get("")
@access.require("use_console")
def index() -> ResponseReturnValue:
    """List the reader's notifications, newest first, with the settings."""
    shown = service.notifications_of(current_user.id, cursor=request.args.get("cursor"))
    return render_template(
        "console/notifications/index.html",
        items=shown.rows,
        older=url_for(".index", cursor=shown.next) if shown.next else None,
        titles=TITLES,
        choices=service.choices_of(current_user.id),
    )


@pages.post("/<int:notification_id>/open")
@access.require("use_console")
def open_one(notification_id: int) -> ResponseReturnValue:
    """Mark a notification as read and go to what it is about."""
    return redirect(service.read(user_id=current_user.id, notification_id=notification_id).link)


@pages.post("/read")
@access.require("use_console")
def read_all() -> ResponseReturnValue:
    """Mark all notifications as read."""
    count = service.read_all(current_user.id)
    flash(
        ngettext("%(num)s notification marked as read.", "%(num)s notifications marked as read.", count),
        "success",
    )
    return redirect(url_for(".index"))


@pages.post("/settings")
@access.require("use_console")
def settings() -> ResponseReturnValue:
    """Set which kinds the reader wants, in the console and by email."""
    service.choose(
        user_id=current_user.id,
        shown=request.form.getlist("shown"),
        emailed=request.form.getlist("emailed"),
    )
    flash(gettext("Saved."), "success")
    return redirect(url_for(".index") + "#settings")
