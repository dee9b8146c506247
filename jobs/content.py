"""Jobs of content: approvals that expire, and test emails."""

from crm.content import approval
from crm.core import current
from crm.core.db import transaction
from crm.core.queue import LOW, URGENT, job
from crm.messages import test_send


@job(queue=LOW, timeout=120, every=3600)
def look_after() -> None:
    """Remind staff of approvals that expire soon and retire unused versions."""
    with transaction():
        approval.run_maintenance()


@job(queue=URGENT, timeout=60)
def try_out(version_id: int, user_id: int) -> None:
    """Send a test email of one version to the staff member who requested it."""
    test_send.send_to(user_id=user_id, version_id=version_id, settings=current.settings())
