"""Jobs of monitoring."""

from crm.core import current
from crm.core.db import transaction
from crm.core.queue import LOW, job
from crm.desk.record_access import volume as record_volume
from crm.ops import doctor, job_failures


@job(queue=LOW, timeout=60, every=300)
def look() -> None:
    """Raise an alert when mail is stuck or provider events are missing; close it when that ends."""
    with transaction():
        doctor.raise_alerts(current.settings())
        job_failures.close_ended()


@job(queue=LOW, timeout=60, every=60)
def volume() -> None:
    """Raise an alert about members of staff and API keys that see far more records than work needs."""
    with transaction():
        record_volume.check()
