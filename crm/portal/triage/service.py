"""Triage: claim the next referral of the review list; accept it, ask the practice, or decline with a reason."""

from collections.abc import Collection, Mapping

from crm.audit import acts
from crm.audit import service as audit
from crm.audit.models import StaffAct
from crm.core.errors import Conflict, Invalid
from crm.desk.calling import claims
from crm.desk.models import Work
from crm.leads import rules
from crm.leads import service as leads
from crm.leads.models import Lead
from crm.portal import service as portal
from crm.portal.triage import review_list

TAKEN = "Another staff member is working on this referral now. Go to the next one."
ACCEPTED, ASKED, DECLINED = "accepted", "info_requested", "declined"
REASONS: Mapping[str, Collection[str]] = {
    stage: sorted(rules.REFERRAL_STAGES[stage].reasons) for stage in (ACCEPTED, ASKED, DECLINED)
}


def claim_next(*, user_id: int, skipped: Collection[int] = ()) -> Lead | None:
    """Claim the first referral of the review list that no one else has; an earlier claim of the user ends."""
    claims.release(user_id)
    for lead in review_list.load_waiting(me=user_id):
        if lead.id not in skipped and claims.claim(
            lead.id, user_id=user_id, work=Work.REVIEW, still=[review_list.WAITS]
        ):
            audit.record("review.claim", object_type="lead", object_id=lead.id)
            return lead
    return None


def decide(*, lead: Lead, user_id: int, version: int, to: str, reason: str | None, message: str) -> StaffAct:
    """Accept a referral, ask the practice about it, or decline it; write to the practice if there is a message.

    Raises Invalid, and Conflict if another staff member has it or decided on it in the meantime.
    """
    if to not in REASONS:
        raise Invalid({"to": ["Choose what to do with this referral."]})
    if not claims.claim(lead.id, user_id=user_id, work=Work.REVIEW):
        raise Conflict(TAKEN)
    if message.strip():
        portal.write_message(lead=lead, text=message, from_clinic=True)
    with acts.begin("triage", lead_id=lead.id) as act:
        leads.move_stage(lead_id=lead.id, version=version, to=to, reason=reason)
    return act
