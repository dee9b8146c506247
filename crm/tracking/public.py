"""The provider's event webhook: verify the raw bytes, store them, answer."""

from flask import Response, request

from crm.core import clock, current
from crm.core.blueprints import CsrfCheck, PublicPages
from crm.mailer import sendgrid_events
from crm.staff import alerts
from crm.tracking import service

pages = PublicPages("webhooks", __name__, url_prefix="/webhooks", csrf=CsrfCheck.SIGNATURE)


@pages.post("/sendgrid")
def sendgrid() -> Response:
    """Receive a post of SendGrid's Event Webhook: 204 once it is stored, 401 without a valid signature."""
    keys = current.settings().sendgrid_webhook_keys
    if not keys:
        alerts.raise_alert(
            key="webhook-key",
            level="danger",
            text="SendGrid's events are refused: set SENDGRID_WEBHOOK_KEY to verify them.",
        )
        return Response(status=503)
    raw = request.get_data(cache=False)
    genuine = sendgrid_events.verify(
        raw,
        signature=request.headers.get(sendgrid_events.SIGNATURE),
        timestamp=request.headers.get(sendgrid_events.TIMESTAMP),
        keys=keys,
        now=clock.now(),
    )
    if not genuine:
        return Response(status=401)
    service.store(raw)
    return Response(status=204)
