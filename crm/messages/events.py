"""What happens to messages."""

from dataclasses import dataclass

from crm.core.events import Event
from crm.messages.rules import Answer


@dataclass(frozen=True, kw_only=True)
class MessageBlocked(Event):
    """Policy keeps a message about a patient from a transport without a BAA."""

    message_id: int
    contact_id: int
    stream: str


@dataclass(frozen=True, kw_only=True)
class EmailsDelivered(Event):
    """The provider reported that emails were delivered."""

    message_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class AnswerGiven(Event):
    """A person answered an email with a button. `enrolment_id`: of an email of a sequence."""

    message_id: int
    contact_id: int
    enrolment_id: int | None
    answer: Answer
