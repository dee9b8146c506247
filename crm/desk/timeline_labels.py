"""Timeline labels for staff: an entry in, its label out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm.contacts.queries import TimelineEntry
from crm.leads.contact_attempts import CHANNELS, OUTCOMES, REACHED
from crm.leads.rules import OUTCOMES_SENT, SENT_BY, label
from crm.mailer import DROP_REASONS

TOPICS = {
    "prospect_edu": "educational emails",
    "referred_edu": "educational emails after a referral",
    "provider_nurture": "updates for referring clinicians",
    "*": "all emails",
}
Label = tuple[str, str, str]
"""Title, kind (color) and icon."""

EVENTS: Mapping[str, Label] = {
    "task_opened": ("Task opened", "neutral", "○"),
    "task_changed": ("Task changed", "neutral", "○"),
    "task_done": ("Task done", "success", "✓"),
    "note": ("Note", "neutral", "✎"),
    "clock_ran_out": ("Overdue", "warning", "!"),
    "told_otherwise": ("Submitted details differ from the record", "warning", "!"),
    "practice_told_otherwise": ("The practice’s details differ from its record", "warning", "!"),
    "sent_again": ("The practice sent the referral again with another text", "warning", "!"),
    "referral_corrected": ("The practice corrected the referral", "warning", "!"),
    "left_out": ("Values that could not be read", "warning", "!"),
    "possible_duplicate": ("Possible duplicate of another record", "warning", "!"),
    "stopped": ("Clinical stop set: no more emails", "danger", "■"),
    "stop_lifted": ("Clinical stop lifted", "success", "✓"),
    "became_urgent": ("The practice sent the referral again as urgent", "danger", "!"),
    "reopened": ("Reopened", "accent", "●"),
    "contact_added": ("Contact added by staff", "accent", "●"),
    "split_off": ("Split from a record that held two people", "neutral", "●"),
    "split": ("A second person was split off into another record", "neutral", "●"),
    "document_added": ("File added", "neutral", "○"),
    "document_attached": ("Fax attached", "neutral", "○"),
    "document_removed": ("File removed", "neutral", "○"),
    "edited": ("Details edited", "neutral", "✎"),
    "difference_kept": ("Record kept as it was", "neutral", "●"),
    "act_undone": ("Action undone", "neutral", "●"),
    "merge_undone": ("Merge undone", "neutral", "●"),
    "merged": ("Another record was merged into this one", "neutral", "●"),
}
CONSULTATIONS: Mapping[str, Label] = {
    "booked": ("booked", "success", "✓"),
    "moved": ("rescheduled", "accent", "→"),
    "cancelled": ("cancelled", "neutral", "×"),
    "no_show": ("no-show", "warning", "!"),
    "attended": ("attended", "success", "✓"),
    "reminder": ("reminder sent", "neutral", "…"),
}
SOURCES = {
    "form": "the contact form",
    "api": "another system",
    "portal": "the referrer portal",
    "import": "an import",
    "phone": "the phone",
    "walk_in": "a visit to the clinic",
    "fax": "a fax",
    "event": "an event",
}
CONSENT: Mapping[str, Label] = {
    "attested": ("Referrer states that the patient agreed to %s", "neutral", "○"),
    "requested": ("Requested %s; confirmation email sent", "neutral", "…"),
    "granted": ("Opted in to %s", "success", "✓"),
    "withdrawn": ("Opted out of %s", "danger", "×"),
    "snoozed": ("Paused %s", "warning", "‖"),
    "merged": ("Consent to %s merged into another record", "neutral", "○"),
    "unmerged": ("Consent to %s as before the merge", "neutral", "○"),
}
CONSENT_SOURCES = {
    "form": "contact form",
    "api": "another system",
    "referrer": "referrer",
    "confirm_link": "link in the confirmation email",
    "one_click": "one-click unsubscribe",
    "unsubscribe_page": "unsubscribe page",
    "preferences": "preferences page",
    "undo": "undo link",
    "merge": "merge of two records",
    "unmerge": "undo of a merge",
    "staff": "staff",
}
MAIL: Mapping[str, Label] = {
    "ready": ("Email queued", "neutral", "…"),
    "held": ("Email on hold", "warning", "‖"),
    "sending": ("Email being sent", "accent", "→"),
    "accepted": ("Email sent", "accent", "→"),
    "processed": ("Email sent", "accent", "→"),
    "deferred": ("Email delayed by the recipient’s server", "warning", "…"),
    "delivered": ("Email delivered", "success", "✓"),
    "blocked": ("Email rejected by the recipient’s server", "danger", "×"),
    "dropped": ("Email not sent", "danger", "×"),
    "bounced": ("Email bounced", "danger", "×"),
    "unsubscribed": ("Email delivered; recipient unsubscribed", "danger", "×"),
    "complained": ("Email marked as spam", "danger", "!"),
    "failed": ("Email failed", "danger", "×"),
    "uncertain": ("Email unconfirmed", "warning", "?"),
    "skipped": ("Email not sent", "neutral", "–"),
    "cancelled": ("Email cancelled", "neutral", "–"),
    "blocked_policy": ("Email on hold: no approved transport", "warning", "‖"),
}
SERIES: Mapping[str, Label] = {
    "entered": ("Entered the sequence", "accent", "▶"),
    "completed": ("Finished the sequence", "success", "✓"),
    "exited": ("Exited the sequence", "neutral", "–"),
}


@dataclass(frozen=True, kw_only=True)
class EntryLabel:
    """One timeline entry as the page shows it."""

    at: datetime
    title: str
    kind: str
    icon: str
    body: str | None = None
    why: str | None = None
    by: str | None = None
    href: str | None = None
    link: str | None = None


def label_entry(line: TimelineEntry, *, names: Mapping[str, str], clinical: bool) -> EntryLabel:
    """Label an entry. `names` maps actors to names; without `clinical`, free text stays hidden."""
    title, kind, icon = _title(line)
    body = line.text
    if body is not None and not clinical:
        body = "Your role cannot read this text."
    return EntryLabel(
        at=line.at,
        title=title,
        kind=kind,
        icon=icon,
        body=body,
        why=_why(line),
        by=_by(line.actor or "", names),
        href=f"/console/why/messages/{line.id}" if line.source == "mail" else None,
        link="Why" if line.source == "mail" else None,
    )


def _title(line: TimelineEntry) -> Label:
    detail = line.detail or {}
    if line.source == "mail":
        words, kind, icon = MAIL.get(line.kind, (f"Email {label(line.kind)}", "neutral", "○"))
        return f"{words}: “{detail.get('subject')}”", kind, icon
    if line.source == "consent":
        _, kind, icon = CONSENT.get(line.kind, _OTHER_CONSENT)
        return consent_label(line.kind, detail.get("topic", ""), source=detail.get("via")), kind, icon
    if line.source in ("entered", "left"):
        words, kind, icon = SERIES.get(line.kind, (label(line.kind).capitalize(), "neutral", "○"))
        return f"{words} “{detail.get('sequence')}”", kind, icon
    return _activity(line.kind, detail)


_OTHER_CONSENT: Label = ("Consent to %s noted", "neutral", "○")
_SPOKEN = "Spoken agreement to %s noted; invitation sent"


def consent_label(action: str, topic: str, *, source: str | None = None) -> str:
    """Return what one piece of evidence records."""
    spoken = action == "attested" and source == "staff"
    words = _SPOKEN if spoken else CONSENT.get(action, _OTHER_CONSENT)[0]
    return words % ("all emails" if topic == "*" else TOPICS.get(topic, topic))


def _activity(kind: str, detail: Mapping[str, Any]) -> Label:
    if kind in _LABELED_BY_DETAIL:
        return _LABELED_BY_DETAIL[kind](detail)
    return EVENTS.get(kind, (label(kind).capitalize(), "neutral", "○"))


def _consultation(detail: Mapping[str, Any]) -> Label:
    words, kind, icon = CONSULTATIONS.get(str(detail.get("what")), ("changed", "neutral", "○"))
    return f"Consultation {words}", kind, icon


def _called(detail: Mapping[str, Any]) -> Label:
    channel = CHANNELS.get(str(detail.get("channel")), "Attempt")
    outcome = str(detail.get("outcome"))
    words = f"{channel}: {OUTCOMES.get(outcome, outcome).lower()} (attempt {detail.get('attempt')})"
    return (words, "success", "✓") if outcome in REACHED else (words, "neutral", "→")


def _stage_moved(detail: Mapping[str, Any]) -> Label:
    was, now = label(str(detail.get("was"))), label(str(detail.get("now")))
    return f"Moved from “{was}” to “{now}”", "accent", "→"


def _lead_opened(detail: Mapping[str, Any]) -> Label:
    what = "Referral" if detail.get("kind") == "referral" else "Contact request"
    source = SOURCES.get(str(detail.get("source")), detail.get("source"))
    return f"{what} received through {source}", "accent", "●"


def _assigned(detail: Mapping[str, Any]) -> Label:
    return ("Assigned" if detail.get("owner_id") else "Unassigned"), "neutral", "@"


def _outcome_sent(detail: Mapping[str, Any]) -> Label:
    what, how = OUTCOMES_SENT.get(str(detail.get("what"))), SENT_BY.get(str(detail.get("how")))
    said = f": {what} ({how.lower()})" if what and how else ""
    return f"Outcome sent to the referrer{said}", "success", "✓"


_LABELED_BY_DETAIL: Mapping[str, Callable[[Mapping[str, Any]], Label]] = {
    "consultation": _consultation,
    "called": _called,
    "stage_moved": _stage_moved,
    "lead_opened": _lead_opened,
    "outcome_sent": _outcome_sent,
    "tagged": lambda detail: (f"Tag added: {detail.get('tag')}", "neutral", "#"),
    "untagged": lambda detail: (f"Tag removed: {detail.get('tag')}", "neutral", "#"),
    "assigned": _assigned,
}


def _why(line: TimelineEntry) -> str | None:
    detail = line.detail or {}
    reason = detail.get("reason")
    if line.source == "consent":
        return f"source: {CONSENT_SOURCES.get(str(detail.get('via')), label(str(detail.get('via'))))}"
    return f"reason: {DROP_REASONS.get(str(reason)) or label(str(reason))}" if reason else None


def _by(actor: str, names: Mapping[str, str]) -> str | None:
    if actor in names:
        return names[actor]
    return "another system" if actor.startswith("key:") else None
