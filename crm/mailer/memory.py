"""A mailer that keeps what it was given. For previews and for tests of what stands above the door."""

from collections.abc import Sequence

from crm.mailer import Envelope, Fate, Outcome, Recipient


class MemoryMailer:
    """Accepts everything, or answers with the outcomes it was told to give, in order."""

    def __init__(self, *, name: str = "memory", has_baa: bool = False) -> None:
        self.name = name
        self.has_baa = has_baa
        self.sent: list[tuple[Envelope, list[Recipient]]] = []
        self.answers: list[Outcome] = []

    def prepare(
        self, envelope: Envelope, recipients: Sequence[Recipient]
    ) -> tuple[Envelope, list[Recipient]]:
        return envelope, list(recipients)

    def post(self, prepared: tuple[Envelope, list[Recipient]]) -> Outcome:
        outcome = self.answers.pop(0) if self.answers else Outcome(fate=Fate.ACCEPTED, provider_id="memory")
        if outcome.fate in (Fate.ACCEPTED, Fate.UNKNOWN):
            self.sent.append(prepared)
        return outcome
