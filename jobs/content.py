"""Looking after content, and trying it out."""

from crm.content import approval
from crm.core.db import transaction
from crm.messages import test_send
from jobs.context import app


def look_after() -> None:
    """Remind of approvals that end, and retire what nobody uses any more."""
    with transaction():
        approval.run_maintenance()


def try_out(version_id: int, user_id: int) -> None:
    """Send one version to the member of staff who asked for it, and to nobody else."""
    test_send.send_to(user_id=user_id, version_id=version_id, settings=app().settings)
