"""Labels of timeline entries: an entry in, the words that staff read out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crm.contacts.queries import TimelineEntry
from crm.leads.contact_attempts import CHANNELS, OUTCOMES, REACHED
from crm.leads.rules import label

TOPICS = {
    "prospect_edu": "educational emails",
    "referred_edu": "educational emails after a referral",
    "provider_nurture": "updates for referring clinicians",
}
EVENTS: Mapping[str, tuple[str, str, str]] = {  # kind -> words, look, sign
    "lead_opened": ("Came in", "accent", "●"),
    "note": ("Note", "neutral", "✎"),
    "clock_ran_out": ("Should have been acted on by now", "warning", "!"),
    "outcome_sent": ("Outcome sent to the referrer", "success", "✓"),
    "told_otherwise": ("Told us something that differs from the record", "warning", "!"),
    "possible_duplicate": ("May be the same person as another record", "warning", "!"),
    "stopped": ("Clinical stop: nothing is sent any more", "danger", "■"),
    "stop_lifted": ("Clinical stop lifted", "success", "✓"),
    "merge_undone": ("A merge was taken back", "neutral", "●"),
    "merged": ("Another record was merged into this one", "neutral", "●"),
}
CONSULTATIONS: Mapping[str, tuple[str, str, str]] = {
    "booked": ("booked", "success", "✓"),
    "moved": ("moved to another time", "accent", "→"),
    "cancelled": ("cancelled", "neutral", "×"),
    "no_show": ("missed", "warning", "!"),
    "attended": ("attended", "success", "✓"),
}
SOURCES = {
    "form": "the contact form",
    "api": "another system",
    "portal": "the referrer portal",
    "import": "an import",
}
CONSENT: Mapping[str, tuple[str, str, str]] = {
    "attested": ("A referrer says the patient agreed to %s", "neutral", "○"),
    "requested": ("Ticked the box for %s; asked to confirm", "neutral", "…"),
    "granted": ("Opted in to %s", "success", "✓"),
    "withdrawn": ("Opted out of %s", "danger", "×"),
    "snoozed": ("Paused %s", "warning", "‖"),
    "merged": ("Consent to %s came over from a merged record", "neutral", "○"),
}
CONSENT_SOURCES = {
    "form": "contact form",
    "api": "another system",
    "referrer": "referrer",
    "confirm_link": "link in the confirmation email",
    "one_click": "one-click unsubscribe of the mail program",
    "unsubscribe_page": "unsubscribe page",
    "preferences": "preferences page",
    "undo": "undo on the page",
    "staff": "staff",
}
MAIL: Mapping[str, tuple[str, str, str]] = {
    "ready": ("Email waits to leave", "neutral", "…"),
    "held": ("Email on hold", "warning", "‖"),
    "sending": ("Email is leaving", "accent", "→"),
    "accepted": ("Email sent", "accent", "→"),
    "processed": ("Email sent", "accent", "→"),
    "deferred": ("Email delayed by the other side", "warning", "…"),
    "delivered": ("Email delivered", "success", "✓"),
    "blocked": ("Email turned away by the other side", "danger", "×"),
    "dropped": ("Email dropped by the provider", "danger", "×"),
    "bounced": ("Email bounced", "danger", "×"),
    "unsubscribed": ("Email delivered; opted out through it", "danger", "×"),
    "complained": ("Email marked as spam", "danger", "!"),
    "failed": ("Email failed", "danger", "×"),
    "uncertain": ("Email may or may not have left", "warning", "?"),
    "skipped": ("Email not sent", "neutral", "–"),
    "cancelled": ("Email cancelled", "neutral", "–"),
    "blocked_policy": ("Email waits for a transport that may carry it", "warning", "‖"),
}
SERIES: Mapping[str, tuple[str, str, str]] = {
    "entered": ("Began the sequence", "accent", "▶"),
    "completed": ("Finished the sequence", "success", "✓"),
    "exited": ("Left the sequence", "neutral", "–"),
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line as the page shows it."""

    at: datetime
    title: str
    kind: str
    icon: str
    body: str | None = None
    why: str | None = None
    by: str | None = None
    href: str | None = None
    link: str | None = None


def tell(line: TimelineEntry, *, names: Mapping[str, str], clinical: bool) -> Entry:
    """Put a line into words. `names`: actor -> name; without `clinical`, free text stays hidden."""
    title, kind, icon = _title(line)
    body = line.text
    if body is not None and not clinical:
        body = "Your role does not show this text."
    return Entry(
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


def _title(line: TimelineEntry) -> tuple[str, str, str]:
    detail = line.detail or {}
    if line.source == "mail":
        words, kind, icon = MAIL.get(line.kind, (f"Email {label(line.kind)}", "neutral", "○"))
        return f"{words}: “{detail.get('subject')}”", kind, icon
    if line.source == "consent":
        words, kind, icon = CONSENT.get(line.kind, ("Consent to %s noted", "neutral", "○"))
        return words % TOPICS.get(detail.get("topic", ""), detail.get("topic", "")), kind, icon
    if line.source in ("entered", "left"):
        words, kind, icon = SERIES.get(line.kind, (label(line.kind).capitalize(), "neutral", "○"))
        return f"{words} “{detail.get('sequence')}”", kind, icon
    return _activity(line.kind, detail)


def _activity(kind: str, detail: Mapping[str, Any]) -> tuple[str, str, str]:
    if kind == "consultation":
        words, kind, icon = CONSULTATIONS.get(str(detail.get("what")), ("changed", "neutral", "○"))
        return f"Consultation {words}", kind, icon
    if kind == "called":
        way = CHANNELS.get(str(detail.get("channel")), "Attempt")
        outcome = str(detail.get("outcome"))
        words = f"{way}: {OUTCOMES.get(outcome, outcome).lower()} (attempt {detail.get('attempt')})"
        return (words, "success", "✓") if outcome in REACHED else (words, "neutral", "→")
    if kind == "stage_moved":
        return (
            f"Moved from “{label(str(detail.get('was')))}” to “{label(str(detail.get('now')))}”",
            "accent",
            "→",
        )
    if kind == "lead_opened":
        what = "A referral" if detail.get("kind") == "referral" else "A contact request"
        return (
            f"{what} came in through {SOURCES.get(str(detail.get('source')), detail.get('source'))}",
            "accent",
            "●",
        )
    if kind in ("tagged", "untagged"):
        return f"{'Tag added' if kind == 'tagged' else 'Tag removed'}: {detail.get('tag')}", "neutral", "#"
    if kind in ("task_opened", "task_done"):
        return ("Task opened", "neutral", "○") if kind == "task_opened" else ("Task done", "success", "✓")
    if kind == "assigned":
        return ("Given to an owner" if detail.get("owner_id") else "Owner removed"), "neutral", "@"
    return EVENTS.get(kind, (label(kind).capitalize(), "neutral", "○"))


def _why(line: TimelineEntry) -> str | None:
    detail = line.detail or {}
    reason = detail.get("reason")
    if line.source == "consent":
        return f"by way of: {CONSENT_SOURCES.get(str(detail.get('via')), label(str(detail.get('via'))))}"
    return f"because: {label(str(reason))}" if reason else None


def _by(actor: str, names: Mapping[str, str]) -> str | None:
    if actor in names:
        return names[actor]
    return "another system" if actor.startswith("key:") else None
