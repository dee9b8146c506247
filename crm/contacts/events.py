"""Events of a contact record."""

from dataclasses import dataclass

from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class ClinicalStopSet(Event):
    """Staff set a clinical stop: no email may be sent to this person."""

    contact_id: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class ClinicalStopLifted(Event):
    """Staff lifted a clinical stop."""

    contact_id: int


@dataclass(frozen=True, kw_only=True)
class TouchUndone(Event):
    """A contact of staff with a person was logged by mistake."""

    contact_id: int


@dataclass(frozen=True, kw_only=True)
class TagAdded(Event):
    """A person got a tag they did not have."""

    contact_id: int
    tag: str


@dataclass(frozen=True, kw_only=True)
class AddressChanged(Event):
    """Staff changed the email address of a person. `before`: the blind index of the old one.

    `asks`: consent may be asked anew; not after an undo or a merge, which bring consent of their own.
    """

    contact_id: int
    before: bytes | None
    asks: bool = True
