"""Test emails: a content version, draft or approved, sent to the staff member who asked for it."""

import structlog

from crm.audit import service as audit
from crm.content import approval, preview
from crm.content import service as content
from crm.core.config import Settings
from crm.core.db import transaction
from crm.mailer import Fate, PayloadError, PreparedCall, Recipient
from crm.messages import transports
from crm.messages.engine import envelope as links
from crm.messages.rules import STREAMS
from crm.staff import alerts
from crm.staff import service as staff

log = structlog.get_logger()

NO_MESSAGE = 0  # events about a test email belong to no message


def send_to(*, user_id: int, version_id: int, settings: Settings) -> bool:
    """Send a version to a staff member's own address; return whether the provider accepted it.

    Rendered as any email, with an example name and links that open nothing. It holds no patient's data, so it uses the
    default transport.
    """
    with transaction():
        call = _prepare(user_id, version_id, settings)
    if call is None:
        return False
    outcome = call.post()
    log.info("content.test_sent", version=version_id, fate=outcome.fate.value)
    return outcome.fate is Fate.ACCEPTED


def _prepare(user_id: int, version_id: int, settings: Settings) -> PreparedCall | None:
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
        call = mailer.prepare(envelope, [to])
    except (PayloadError, content.ContentError) as error:
        audit.record("content.not_tried", object_type="content_version", object_id=version_id)
        alerts.raise_alert(
            key=f"try:{version_id}",
            level="info",
            text=f"A test email could not be built: {error}",
            link=f"/console/content/versions/{version_id}",
        )
        return None
    audit.record("content.tried", object_type="content_version", object_id=version_id, detail={"to": user_id})
    return call
