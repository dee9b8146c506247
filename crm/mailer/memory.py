"""A mail transport that keeps the mail in memory, for previews and tests."""

from collections.abc import Sequence
from functools import partial

from crm.mailer import Envelope, Fate, Outcome, PreparedCall, Recipient


class MemoryMailer:
    """Accepts everything, or gives the outcomes in `answers`, in order."""

    def __init__(self, *, name: str = "memory", has_baa: bool = False) -> None:
        self.name = name
        self.has_baa = has_baa
        self.sent: list[tuple[Envelope, list[Recipient]]] = []
        self.answers: list[Outcome] = []

    def prepare(self, envelope: Envelope, recipients: Sequence[Recipient]) -> PreparedCall:
        """Build a call that keeps the mail in `sent`."""
        return PreparedCall(partial(self._post, envelope, list(recipients)))

    def _post(self, envelope: Envelope, recipients: list[Recipient]) -> Outcome:
        outcome = self.answers.pop(0) if self.answers else Outcome(fate=Fate.ACCEPTED, provider_id="memory")
        if outcome.fate in (Fate.ACCEPTED, Fate.UNKNOWN):
            self.sent.append((envelope, recipients))
        return outcome
