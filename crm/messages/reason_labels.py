"""Labels of reasons, states and events for staff. They name no health fact."""

from collections.abc import Mapping

from crm.consent.rules import REASON_LABELS
from crm.mailer import DROP_REASONS

REASONS: Mapping[str, str] = {
    **{str(reason): words for reason, words in REASON_LABELS.items()},
    **DROP_REASONS,
    "excluded": "has an excluded tag",
    "no_tag": "has none of the tags it was for",
    "no_translation": "no approved version in the person's language",
    "human_touch": "staff were in touch with the person shortly before",
    "waits_for": "waits for something to happen, up to the longest time",
    "waiting after a call, reply or visit": "staff were in touch with the person shortly before",
    "frequency_cap": "reached the limit of emails per week",
    "had_already": "had this email before",
    "left_sequence": "left the sequence before this email was sent",
    "said_yes_later": "opted in after the launch",
    "came_later": "was added after the launch",
    "not_launched": "not launched",
    "not_in_audience": "was not in the audience at the launch",
    "had_first": "got or may have got the first broadcast",
    "not_enrolled": "never started the sequence",
    "not_due": "not due yet",
    "sequence_paused": "the sequence is paused",
    "content_not_approved": "the email has no approved version in the person's language",
    "added_behind": "this email was added to the sequence after they had passed its place",
    "other_branch": "they went another way at a branch of the sequence",
    "by_plan": "the sequence ended for them as planned",
    "answered": "the person answered with a button in an email",
    "not_in_segment": "not in the segment of this broadcast",
    "not_in_version": "their version of the sequence does not have this email",
    "address_changed": "the email address was changed",
    "out_of_date": "what it says about the appointment no longer holds",
    "booked": "an appointment was booked",
    "merged": "the record was merged into another one",
    "bounced": "the address does not exist or does not accept mail",
    "complained": "the person marked an email as spam",
    "soft_bounces": "the address blocked mail repeatedly",
    "invalid": "the address is not valid",
    "unsubscribed": "unsubscribed through the provider",
    "blocked_policy": "no transport may carry mail to patients",
    "no transport with a BAA": "no transport may carry mail to patients",
    "too late to be sent": "it expired before it could be sent",
    "waiting for its turn": "held back by our sending limits",
    "waiting for the hours in which this email may be sent": "waits for the hours in which it may be sent",
    "time zone not found": "the time zone of its recipients is unknown",
    "plan_unreadable": "the plan of the sequence cannot be read",
    "not_planned": "planning it failed; it is tried again every hour",
    "nobody left to send to": "no one in the batch may get it any more",
    "staff": "removed by staff",
}

STATES: Mapping[str, tuple[str, str]] = {  # state of message or batch -> (got it?, words)
    "ready": ("waiting", "Queued."),
    "held": ("waiting", "On hold."),
    "sending": ("waiting", "Being sent."),
    "accepted": ("yes", "Accepted by the mail provider."),
    "processed": ("yes", "Accepted by the mail provider."),
    "deferred": ("waiting", "Delayed: the mailbox asked the provider to retry later."),
    "delivered": ("yes", "Delivered."),
    "unsubscribed": ("yes", "Delivered; the person opted out through it."),
    "complained": ("yes", "Delivered; the person marked it as spam."),
    "blocked": ("no", "Blocked by the mailbox."),
    "dropped": ("no", "Not sent: the mail provider dropped it."),
    "bounced": ("no", "Bounced: the mailbox does not exist or does not accept mail."),
    "failed": ("no", "Failed."),
    "skipped": ("no", "Not sent."),
    "cancelled": ("no", "Cancelled before it was sent."),
    "blocked_policy": ("no", "Blocked: no transport may carry mail to patients."),
    "uncertain": (
        "in_doubt",
        "Unconfirmed: the connection broke after it was handed over, so it may or may not have been sent.",
    ),
}

CONSENT: Mapping[str, str] = {
    "attested": "A referrer attested that the person agrees",
    "requested": "The person asked for emails",
    "granted": "The person opted in",
    "withdrawn": "The person opted out",
    "snoozed": "The person asked for a pause",
    "unmerged": "A merge was undone; the decision before it holds",
    "merged": "The record was merged into another one",
}
SOURCES: Mapping[str, str] = {
    "form": "the contact form",
    "api": "another system",
    "referrer": "a referrer",
    "confirm_link": "the link in the confirmation email",
    "one_click": "one-click unsubscribe of the mail program",
    "unsubscribe_page": "the unsubscribe page",
    "preferences": "the preferences page",
    "undo": "undo on the page",
    "staff": "staff",
    "provider": "the mail provider",
}
EVENTS: Mapping[str, str] = {
    "processed": "Accepted by the provider",
    "deferred": "Delayed by the mailbox",
    "delivered": "Delivered",
    "blocked": "Blocked by the mailbox",
    "dropped": "Dropped by the provider",
    "bounced": "Bounced",
    "unsubscribed": "Unsubscribed",
    "complained": "Marked as spam",
}
UNCLEAR: Mapping[str, str] = {  # what was not understood of the provider's events -> words, and what was done
    "not_json": "Not readable. The readable events beside it were applied.",
    "no_object": "Not an event. It was ignored.",
    "unknown_kind": "An unknown kind of event. It was ignored.",
    "no_address": "A bounce, complaint or opt-out without an address or a known message. Nobody could be suppressed.",
    "no_time": "No readable time. It was applied with the time of receipt.",
    "odd_time": "A time far in the past or future. It was applied with the time of receipt.",
    "no_id": "No ID. It was applied.",
    "doubled_key": "A field with two values. Where one of them asks for a suppression, the address was suppressed.",
    "not_applied": "It could not be applied. It is kept; ask your administrator.",
}
STOPS: Mapping[str, str] = {
    "all": "No email is sent to this address",
    "marketing": "No educational email is sent to this address",
}


def reason(code: str | None) -> str | None:
    """Return the label of a reason; a code without one is made readable."""
    if code is None:
        return None
    return REASONS.get(code, code.replace("_", " "))
