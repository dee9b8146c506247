"""Undo of acts on leads: restores what an act changed and adds a line to the histories of its leads."""

from crm.audit import acts
from crm.audit import service as audit
from crm.contacts import service as contacts
from crm.core import clock
from crm.core.db import db
from crm.leads import service
from crm.leads.models import StageMove


def undo_act(act_id: int, *, lead_id: int) -> None:
    """Undo an act on a lead. Raises NotFound, and Conflict if something changed since."""
    lead = service.get(lead_id)
    was = lead.stage
    undone = acts.undo(act_id, lead_id=lead_id)
    lead = service.get(lead_id)
    now, actor = clock.now(), audit.current().actor
    if lead.stage != was:
        db.session.add(
            StageMove(lead_id=lead.id, was=was, now=lead.stage, reason="undone", actor=actor, at=now)
        )
        detail = {"was": was, "now": lead.stage, "reason": "undone"}
        kind = "stage_moved"
    else:
        kind, detail = "act_undone", {"what": undone.kind}
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind=kind, detail=detail)
    db.session.flush()
