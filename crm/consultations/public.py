"""The private calendar feed of a staff member: the address holds the secret, as calendar programs sign in nowhere."""

from flask import Response
from flask.typing import ResponseReturnValue

from crm.consultations import calendars, ical, queries
from crm.core import current
from crm.core.blueprints import PublicPages

pages = PublicPages("calendar_feed", __name__)


@pages.after_request
def _keep_private(response: Response) -> Response:
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response


@pages.get("/calendar/<token>.ics")
def feed(token: str) -> ResponseReturnValue:
    """Return the consultations of one staff member: times and references."""
    shown = calendars.read_feed(token)
    text = ical.calendar_file(
        shown,
        sequences=queries.sequences([one.lead_id for one in shown]),
        settings=current.settings(),
        name="Consultations",
    )
    return Response(text, mimetype="text/calendar")
