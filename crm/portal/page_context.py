"""What the pages of the portal share: their language, and how often a person may post."""

from flask_babel import get_locale, gettext

from crm.core import limits
from crm.core.errors import TooMany
from crm.core.limits import Limit
from crm.referrers import portal_session


def language() -> str:
    """The language of this page."""
    locale = get_locale()
    return locale.language if locale is not None else "en"


def not_too_often(name: str, *, most: int) -> None:
    """Refuse what one person asks more than `most` times an hour. Raises TooMany."""
    reached = limits.hit([Limit(name=name, who=str(portal_session.person().id), most=most, seconds=3600)])
    if reached is not None:
        raise TooMany(
            gettext("That was a little too often. Please wait, then try again."),
            retry_after=reached.retry_after,
        )
