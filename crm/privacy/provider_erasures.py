"""Erasure at the mail provider: addresses of erased people that it has yet to erase."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from crm.audit import service as audit
from crm.core.db import db
from crm.privacy.models import ProviderErasure
from crm.staff import alerts

MOST = 1_000  # of one request; SendGrid takes 5,000 or 256 KB
ALERT = "provider-erasure"


def owed() -> dict[int, str]:
    """Return the oldest addresses that the provider has yet to erase: id -> address."""
    rows = db.session.scalars(select(ProviderErasure).order_by(ProviderErasure.id).limit(MOST))
    return {row.id: row.address for row in rows}


def settle(ids: Sequence[int]) -> None:
    """Forget addresses that the provider has been asked to erase."""
    db.session.execute(delete(ProviderErasure).where(ProviderErasure.id.in_(ids)))
    audit.record("provider.erase", detail={"addresses": len(ids)})
    alerts.close(ALERT)


def failed(reason: str) -> None:
    """Raise an alert: the provider still keeps addresses of erased people; the job asks again each hour."""
    alerts.raise_alert(
        key="provider-erasure",
        level="warning",
        text=f"The mail provider still keeps addresses of people who were erased here: {reason}. "
        "The API key needs the permission recipients.erasejob.create.",
    )
