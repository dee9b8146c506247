"""What happens between the clinic and those who refer."""

from dataclasses import dataclass

from crm.core.events import Event


@dataclass(frozen=True, kw_only=True)
class ReferralSubmitted(Event):
    """A portal user sent a referral; `contact_id` is theirs, not the patient's."""

    lead_id: int
    contact_id: int
    reference: str
    language: str


@dataclass(frozen=True, kw_only=True)
class ClinicWrote(Event):
    """A message waits in the portal for this person (`contact_id`) of a practice."""

    contact_id: int
    language: str


@dataclass(frozen=True, kw_only=True)
class ReferralsChanged(Event):
    """Referrals of a portal user's practice changed: (reference, stage) of each, newest first."""

    contact_id: int
    language: str
    changes: tuple[tuple[str, str], ...]
