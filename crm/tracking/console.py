"""The console's acts on provider events: try the posts again that were set aside."""

from flask import flash, redirect, url_for
from flask.typing import ResponseReturnValue
from flask_babel import ngettext

from crm.audit import service as audit
from crm.core.blueprints import ConsolePages
from crm.staff import access
from crm.tracking import service

pages = ConsolePages("events", __name__, url_prefix="/mail/events", part_of="mail")


@pages.post("/retry")
@access.require("decide_mail")
def retry() -> ResponseReturnValue:
    """Try the posts again that failed several times and were set aside."""
    number = service.retry_failed()
    audit.record("event_posts.retry", object_type="webhook_receipt", detail={"posts": number})
    text = ngettext(
        "%(num)s post of events is tried again.", "%(num)s posts of events are tried again.", number
    )
    flash(text, "success")
    return redirect(url_for("console.mail.index"))
