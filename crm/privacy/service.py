"""Erasure of a person: deletes what identifies them, keeps the evidence of how they were contacted."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text

from crm.audit import service as audit
from crm.consent import queries as consents
from crm.consent import service as consent
from crm.contacts import queries as people
from crm.contacts.models import Contact
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.queue import enqueue
from crm.leads import rules as lead_rules
from crm.leads.models import Lead, StageMove
from crm.privacy import holds, rules
from crm.privacy.models import ProviderErasure
from crm.privacy.rules import Facts
from crm.referrers.models import PortalPerson, PortalState


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was erased: the ids of the person's records, and how many leads they had."""

    records: tuple[int, ...]
    leads: int


def records_of(contact_id: int) -> list[int]:
    """Return every record of the person: the current one and those merged into it. Raises NotFound."""
    line = consents.merge_chain(contact_id)
    if not line:
        raise NotFound("Contact not found.")
    return people.record_ids(line[-1])


def facts(records: list[int]) -> Facts:
    """Return what decides whether a person may be erased."""
    leads = db.session.execute(
        select(Lead.kind, Lead.stage, Lead.closed_at).where(Lead.contact_id.in_(records))
    ).all()
    account = select(PortalPerson.id).where(
        PortalPerson.contact_id.in_(records), PortalPerson.state != PortalState.CLOSED
    )
    return Facts(
        kinds=[lead.kind for lead in leads],
        stages=[lead.stage for lead in leads],
        open_referral=any(lead.kind == lead_rules.REFERRAL and lead.closed_at is None for lead in leads),
        has_account=db.session.scalar(account.limit(1)) is not None,
        on_hold=holds.of(records) is not None,
    )


def erase(*, contact_id: int, reason: str, despite_care: bool = False) -> Erased:
    """Erase a person permanently. `despite_care`: an administrator checked whether the record must be kept.

    Raises Invalid, NotFound, and Conflict when it was done before or may not be done now.
    """
    if reason not in rules.REASONS:
        raise Invalid({"reason": ["Choose a reason."]})
    records = records_of(contact_id)
    found = _locked(records)
    if all(contact.erased_at is not None for contact in found):
        raise Conflict("This person was already erased.")
    why_not = rules.refused(facts(records), despite_care=despite_care)
    if why_not is not None:
        raise Conflict(why_not)
    addresses = {contact.email for contact in found if contact.email}
    for contact in found:
        consent.withdraw(contact_id=contact.id, topic=None, source="erasure", reason="erased")
    leads = _end_leads(records)
    db.session.flush()
    for statement in _FORGET:
        db.session.execute(statement, {"records": records, "title": "Erased"})
    db.session.expire_all()
    for contact in found:
        _empty(contact)
    detail = {"records": records, "reason": reason, "leads": leads, "despite_care": despite_care}
    audit.record("contact.erase", object_type="contact", object_id=records[-1], detail=detail)
    _ask_provider(addresses)
    db.session.flush()
    return Erased(records=tuple(records), leads=leads)


def _ask_provider(addresses: Collection[str]) -> None:
    """Have the mail provider erase what it keeps about these addresses, once this is committed."""
    for address in sorted(addresses):
        db.session.add(ProviderErasure(address=address, at=clock.now()))
    if addresses:
        enqueue("privacy.erase_at_provider")


def _locked(records: list[int]) -> list[Contact]:
    rows = select(Contact).where(Contact.id.in_(records)).order_by(Contact.id)
    return list(db.session.scalars(rows.with_for_update(key_share=True)))


_NOTHING: dict[str, Any] = dict.fromkeys(
    (
        "email",
        "email_index",
        "phone",
        "phone_index",
        "phone_last4_index",
        "phone_last7_index",
        "phone_first6_index",
        "birth_date",
        "name_birth_index",
        "state",
        "snooze_until",
        "preferred_name",
        "phone_kind",
        "chart_number",
        "guardian",
    )
)


def _empty(contact: Contact) -> None:
    for name, value in _NOTHING.items():
        setattr(contact, name, value)
    contact.first_name, contact.last_name, contact.time_zone = rules.NAME, "", "UTC"
    contact.erased_at = clock.now()


def _end_leads(records: list[int]) -> int:
    """Close open leads; stage rules do not apply to an erasure, and no one is notified."""
    now, actor = clock.now(), audit.current().actor
    leads = db.session.scalars(
        select(Lead).where(Lead.contact_id.in_(records)).with_for_update(of=Lead)
    ).all()
    for lead in leads:
        if lead.closed_at is None:
            db.session.add(
                StageMove(lead_id=lead.id, was=lead.stage, now="lost", reason="other", actor=actor, at=now)
            )
            lead.stage, lead.reason, lead.stage_at, lead.closed_at, lead.due_at = (
                "lost",
                "other",
                now,
                now,
                None,
            )
        lead.message = lead.content_index = lead.heard_from = None
    return len(leads)


_THEIRS = "select id from lead where contact_id = any(:records)"
_FORGET = tuple(
    text(statement)
    for statement in (
        """update activity set text = null,
                detail = case when jsonb_typeof(detail) = 'object' then detail - 'tag' else detail end
            where contact_id = any(:records)""",
        "delete from contact_tag where contact_id = any(:records)",
        "delete from contact_phone where contact_id = any(:records)",
        "delete from own_data_link where contact_id = any(:records)",
        "delete from emergency_access where contact_id = any(:records)",
        "delete from contact_change where contact_id = any(:records)",
        # the images by which staff could undo what they did with this person in the last hour
        f"""delete from staff_act a where a.lead_id in ({_THEIRS}) or exists (
                select 1 from act_change c,
                    lateral (select c.row_key || coalesce(c.before, '{{}}') || coalesce(c.after, '{{}}') as row) r
                where c.act_id = a.id and (
                    (c.table_name = 'contact' and cast(c.row_key->>'id' as bigint) = any(:records))
                    or cast(r.row->>'contact_id' as bigint) = any(:records)
                    or cast(r.row->>'lead_id' as bigint) in ({_THEIRS})
                    or (c.table_name = 'lead' and cast(c.row_key->>'id' as bigint) in ({_THEIRS}))))""",
        f"update lead_call set note = null where lead_id in ({_THEIRS})",
        """update task set title = :title, done_at = coalesce(done_at, stage.at), done_by = coalesce(done_by, 'erasure')
            from (select l.id, l.closed_at as at from lead l where l.contact_id = any(:records)) stage
            where stage.id = task.lead_id""",
        f"""update referral set health = null, guardian = null, external_id = null, contact_person = null,
            sent = null where lead_id in ({_THEIRS})""",
        "update lead set first_touch = null where contact_id = any(:records)",
        f"delete from referral_attachment where lead_id in ({_THEIRS})",
        f"delete from document where contact_id = any(:records) or lead_id in ({_THEIRS})",
        f"""update referral_upload set content = null where id in (
                select upload_id from referral_upload_row where lead_id in ({_THEIRS}))""",
        f"delete from portal_message where lead_id in ({_THEIRS})",
        "update message set params = '{}'::jsonb where contact_id = any(:records) and params is not null",
        """update provider_event set detail = null, address_index = null
            where message_id in (select id from message where contact_id = any(:records))""",
        """delete from referral_draft
            where person_id in (select id from portal_person where contact_id = any(:records))""",
        """delete from referrer_passkey
            where person_id in (select id from portal_person where contact_id = any(:records))""",
        # a closed portal account: the name is deleted, the fact that a portal user sent a referral is kept
        """update portal_person set name = :title, email = 'erased-' || id
            where contact_id = any(:records)""",
        "update contact_merge set moved = null where kept_id = any(:records)",
    )
)
