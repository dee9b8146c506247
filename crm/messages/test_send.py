"""A test email: a version, draft or approved, to the very person who asks for it. It is no message to a patient or prospect."""

from collections.abc import Sequence

import structlog

from crm.audit import service as audit
from crm.content import approval, preview
from crm.content import service as content
from crm.core.config import Settings
from crm.core.db import transaction
from crm.mailer import Fate, Mailer, PayloadError, Recipient
from crm.messages import transports
from crm.messages.engine import envelope as links
from crm.messages.rules import STREAMS
from crm.staff import alerts
from crm.staff import service as staff

log = structlog.get_logger()

NO_MESSAGE = 0  # what comes back about it belongs to nobody


def send_to(*, user_id: int, version_id: int, settings: Settings) -> bool:
    """Send a version to a member of staff's own address; return whether it was taken.

    Rendered by the one path, with a made-up first name and links that open nothing. No patient's data is in it, so it takes
    the default way out.
    """
    with transaction():
        mailer, prepared = _prepare(user_id, version_id, settings)
    if mailer is None:
        return False
    outcome = mailer.post(prepared)
    log.info("content.tried", version=version_id, fate=outcome.fate.value)
    return outcome.fate is Fate.ACCEPTED


def _prepare(user_id: int, version_id: int, settings: Settings) -> tuple[Mailer | None, object]:
    user, version = staff.get(user_id), approval.get(version_id)
    mailer = next(iter(transports.mailers().values()))
    try:
        rendered = preview.rendering(version)
        envelope = links.envelope(
            rendered, stream=STREAMS[version.item.stream or "transactional"], clinic=settings.clinic
        )
        values = preview.fields("ana", language=version.language)
        to = Recipient(
            NO_MESSAGE,
            user.email,
            content.substitutions(values, wanted=rendered.placeholders),
            values["unsubscribe_url"] if envelope.list_unsubscribe else None,
        )
        prepared = mailer.prepare(envelope, _one(to))
    except (PayloadError, content.ContentError) as error:
        audit.record("content.not_tried", object_type="content_version", object_id=version_id)
        alerts.raise_alert(
            key=f"try:{version_id}",
            level="info",
            text=f"A test email could not be built: {error}",
            link=f"/console/content/versions/{version_id}",
        )
        return None, None
    audit.record("content.tried", object_type="content_version", object_id=version_id, detail={"to": user_id})
    return mailer, prepared


def _one(recipient: Recipient) -> Sequence[Recipient]:
    return [recipient]
