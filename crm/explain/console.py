"""Why a person got, or did not get, an email: one page for any email, also one that was never created."""

from flask import render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from crm.campaigns.models import Campaign
from crm.contacts.models import Contact
from crm.core.blueprints import ConsolePages
from crm.core.db import db
from crm.explain import service
from crm.explain.service import Answer
from crm.leads.models import Lead
from crm.sequences.models import EmailSequence
from crm.staff import access

pages = ConsolePages("why", __name__, url_prefix="/why")

PARTS = {  # part -> (what it is called, look, sign)
    "consent": ("Consent", "success", "✓"),
    "stop": ("Suppression", "danger", "■"),
    "decision": ("Rules", "accent", "?"),
    "content": ("Content", "neutral", "✎"),
    "broadcast": ("Broadcast", "neutral", "▶"),
    "sequence": ("Sequence", "neutral", "▶"),
    "batch": ("Sending", "accent", "→"),
    "attempt": ("Sending", "accent", "→"),
    "event": ("Provider", "accent", "←"),
}


@pages.get("/messages/<int:message_id>")
@access.require("see_leads")
def message(message_id: int) -> ResponseReturnValue:
    """Explain one email to one person."""
    return _page(service.of_message(message_id))


@pages.get("/broadcasts/<int:campaign_id>/people/<int:contact_id>")
@access.require("see_leads")
def campaign(campaign_id: int, contact_id: int) -> ResponseReturnValue:
    """Explain why this person got or did not get a broadcast."""
    return _page(service.of_campaign(campaign_id, contact_id))


@pages.get("/sequences/<key>/emails/<int:step>/people/<int:contact_id>")
@access.require("see_leads")
def step(key: str, step: int, contact_id: int) -> ResponseReturnValue:
    """Explain why this person got or did not get an email of a sequence."""
    return _page(service.of_step(key, step, contact_id))


def _page(answer: Answer) -> str:
    contact = db.session.get_one(Contact, answer.contact_id)
    newest = select(Lead.reference).where(Lead.contact_id == contact.id).order_by(Lead.id.desc()).limit(1)
    return render_template(
        "console/explain/show.html",
        answer=answer,
        person=contact,
        reference=db.session.scalar(newest),
        parts=PARTS,
        source=_source(answer),
    )


def _source(answer: Answer) -> tuple[str, str] | None:
    """Return the broadcast or sequence of the email: (name, address)."""
    if answer.campaign_id is not None:
        name = db.session.scalar(select(Campaign.name).where(Campaign.id == answer.campaign_id))
        return str(name), url_for("console.campaigns.show", campaign_id=answer.campaign_id)
    if answer.sequence_id is not None:
        name = db.session.scalar(select(EmailSequence.title).where(EmailSequence.id == answer.sequence_id))
        return str(name), url_for("console.sequences.show", sequence_id=answer.sequence_id)
    return None
