"""What the answer to "why did this person get this?" is said with. Staff read it; it names no health fact."""

from collections.abc import Mapping

from crm.consent.rules import REASON_LABELS

REASONS: Mapping[str, str] = {str(reason): words for reason, words in REASON_LABELS.items()} | {
    "excluded": "has an excluded tag",
    "no_tag": "has none of the tags it was for",
    "no_translation": "there is no approved version in the person's language",
    "frequency_cap": "got as many emails this week as we allow ourselves",
    "said_yes_later": "said yes only after it was launched",
    "came_later": "came to us only after it was launched",
    "not_launched": "it has not been launched",
    "not_in_audience": "was not in the audience that was fixed at the launch",
    "had_first": "got, or may have got, the one before",
    "not_enrolled": "never began the sequence",
    "not_due": "its turn has not come",
    "sequence_paused": "the sequence is paused",
    "content_not_approved": "the email has no approved version in the person's language",
    "not_in_version": "their version of the sequence has no such email",
    "booked": "an appointment was booked",
    "merged": "the record was merged into another one",
    "bounced": "the address does not exist or takes no mail",
    "complained": "the person marked an email as spam",
    "soft_bounces": "the address refused mail time and again",
    "invalid": "the address is not valid",
    "unsubscribed": "unsubscribed through the provider",
    "blocked_policy": "no transport may carry mail to patients",
    "no transport with a BAA": "no transport may carry mail to patients",
    "too late to be sent": "it had waited for so long that sending it would have done more harm than good",
    "waiting for its turn": "our own pace holds it back",
    "nobody left to send to": "nobody in the batch may get it any more",
    "staff": "staff took the person out",
}

STATES: Mapping[str, tuple[str, str]] = {  # state of message or batch -> (got it?, words)
    "ready": ("waiting", "It waits to leave."),
    "held": ("waiting", "It is on hold."),
    "sending": ("waiting", "It is leaving this moment."),
    "accepted": ("yes", "It was handed to the mail provider, who took it."),
    "processed": ("yes", "The mail provider took it."),
    "deferred": ("waiting", "The mailbox asked the provider to come again later."),
    "delivered": ("yes", "It was delivered."),
    "unsubscribed": ("yes", "It was delivered, and the person opted out through it."),
    "complained": ("yes", "It was delivered, and the person marked it as spam."),
    "blocked": ("no", "The mailbox turned it away."),
    "dropped": ("no", "The mail provider did not try: the address is on one of its lists."),
    "bounced": ("no", "The mailbox does not exist or takes no mail."),
    "failed": ("no", "It did not leave."),
    "skipped": ("no", "It was not sent."),
    "cancelled": ("no", "It was cancelled before it left."),
    "blocked_policy": ("no", "It may not leave: no transport may carry mail to patients."),
    "uncertain": ("in_doubt", "It may or may not have left: the connection broke after it was handed over."),
}

CONSENT: Mapping[str, str] = {
    "attested": "A referrer said that the person agrees",
    "requested": "The person asked to hear from us",
    "granted": "The person said yes",
    "withdrawn": "The person said no",
    "snoozed": "The person asked for a pause",
    "merged": "The record went up in another one",
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
    "processed": "The provider took it",
    "deferred": "The mailbox asked to come again later",
    "delivered": "Delivered",
    "blocked": "Turned away by the mailbox",
    "dropped": "Dropped by the provider",
    "bounced": "Bounced",
    "unsubscribed": "Unsubscribed",
    "complained": "Marked as spam",
}
STOPS: Mapping[str, str] = {
    "all": "Nothing at all goes to this address",
    "marketing": "Nothing educational goes to this address",
}


def reason(code: str | None) -> str | None:
    """Return a reason in words; what has none comes out as it is, a bit more readable."""
    if code is None:
        return None
    return REASONS.get(code, code.replace("_", " "))
