"""Registry of the mail transports of this installation, opened once per process."""

from collections.abc import Mapping

from sqlalchemy import select

from crm.core.config import Settings
from crm.core.db import db
from crm.mailer import Mailer
from crm.mailer.sendgrid import SendGridMailer
from crm.mailer.smtp import SmtpMailer
from crm.messages import rules
from crm.messages.models import PhiAttestation

_settings: Settings | None = None
_mailers: dict[str, Mailer] = {}


def configure(settings: Settings) -> None:
    """Remember what to open; nothing is opened before the first send."""
    global _settings
    _settings = settings
    _mailers.clear()


def use(mailers: Mapping[str, Mailer]) -> None:
    """Replace the transports, in this order of preference."""
    _mailers.clear()
    _mailers.update(mailers)


def mailers() -> Mapping[str, Mailer]:
    """Return the transports of this installation by name, the default one first."""
    if not _mailers:
        if _settings is None:
            raise RuntimeError("The transports are not configured.")
        _mailers["sendgrid"] = SendGridMailer(api_key=_settings.sendgrid_api_key, url=_settings.sendgrid_url)
        if _settings.smtp_url:
            _mailers["smtp"] = SmtpMailer(url=_settings.smtp_url, has_baa=_settings.smtp_has_baa)
    return _mailers


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
