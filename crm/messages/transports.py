"""Mail transports: which ones an app has, opened once, and which one a stream may use."""

from collections.abc import Mapping

from sqlalchemy import select

from crm.core import current
from crm.core.config import Settings
from crm.core.current import PerApp
from crm.core.db import db
from crm.mailer import Mailer
from crm.mailer.sendgrid import SendGridMailer
from crm.mailer.smtp import SmtpMailer
from crm.messages import rules
from crm.messages.models import PhiAttestation


def _open(settings: Settings) -> Mapping[str, Mailer]:
    found: dict[str, Mailer] = {
        "sendgrid": SendGridMailer(api_key=settings.sendgrid_api_key, url=settings.sendgrid_url)
    }
    if settings.smtp_url:
        found["smtp"] = SmtpMailer(url=settings.smtp_url, has_baa=settings.smtp_has_baa)
    return found


_mailers: PerApp[Mapping[str, Mailer]] = PerApp(_open)


def mailers() -> Mapping[str, Mailer]:
    """Return the transports of the running app by name, the default one first."""
    return _mailers.get()


def use(mailers: Mapping[str, Mailer]) -> None:
    """Send through these transports instead, in this order of preference; with none, through the app's own again."""
    _mailers.set(mailers or _open(current.settings()))


def route(stream: rules.Stream) -> str | None:
    """Return the transport this stream may use, or None."""
    attested = set(
        db.session.scalars(select(PhiAttestation.transport).where(PhiAttestation.revoked_at.is_(None)))
        if stream.phi
        else ()
    )
    return rules.route(
        stream,
        [
            rules.TransportOption(name=name, has_baa=mailer.has_baa, attested=name in attested)
            for name, mailer in mailers().items()
        ],
    )


def batch_size(transport: str) -> int:
    """Return how many messages one call of this transport carries."""
    return 1 if transport == "smtp" else rules.BATCH_SIZE
