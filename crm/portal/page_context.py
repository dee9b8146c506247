"""What the pages of the portal share: the frame around them, the language, and how often a person may post."""

from typing import Any

from flask import g, request, url_for
from flask_babel import get_locale, gettext

from crm.core import limits
from crm.core.errors import TooMany
from crm.core.limits import Limit
from crm.portal import texts as words
from crm.referrers import portal_session


def frame() -> dict[str, Any]:
    """What every page of the portal shows around itself."""
    person = g.get("portal_person")
    if person is None:
        return {}
    shown = [
        (gettext("Your referrals"), "refer.home"),
        (gettext("New referral"), "refer.new"),
        (gettext("Many at once"), "refer_upload.index"),
        (gettext("Poster"), "refer.show_poster"),
    ]
    return {
        "me": {"name": person.name, "practice": person.practice.name},
        "sign_out_href": url_for("refer.sign_out"),
        "home_href": url_for("refer.home"),
        "portal_nav": [
            {"label": label, "href": url_for(endpoint), "current": request.endpoint == endpoint}
            for label, endpoint in shown
        ],
        "stage_words": words.STAGES,
        "reason_words": words.REASONS,
    }


def language() -> str:
    """The language of this page."""
    locale = get_locale()
    return locale.language if locale is not None else "en"


def keep_language() -> None:
    """A language chosen by address is kept with the account, for emails too."""
    wish, person = request.args.get("lang"), g.get("portal_person")
    if person is not None and wish in ("en", "es") and person.language != wish:
        person.language = wish


def not_too_often(name: str, *, most: int) -> None:
    """Refuse what one person asks more than `most` times an hour. Raises TooMany."""
    reached = limits.hit([Limit(name=name, who=str(portal_session.person().id), most=most, seconds=3600)])
    if reached is not None:
        raise TooMany(
            gettext("That was a little too often. Please wait, then try again."),
            retry_after=reached.retry_after,
        )
