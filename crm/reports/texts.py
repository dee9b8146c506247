"""Words of reports: names of steps and groups, and what each number means."""

from collections.abc import Mapping, Sequence

from flask_babel import LazyString, lazy_gettext

from crm.leads.rules import CONTACT_REQUEST, REFERRAL

KINDS: Mapping[str, LazyString] = {
    CONTACT_REQUEST: lazy_gettext("Contact requests"),
    REFERRAL: lazy_gettext("Referrals"),
}
STEPS: Mapping[str, LazyString] = {
    "lead": lazy_gettext("Received"),
    "reached": lazy_gettext("Reached"),
    "qualified": lazy_gettext("Qualified"),
    "booked": lazy_gettext("Booked"),
    "attended": lazy_gettext("Attended"),
    "patient": lazy_gettext("Patient"),
    "sent": lazy_gettext("Sent"),
    "accepted": lazy_gettext("Accepted"),
    "scheduled": lazy_gettext("Scheduled"),
    "returned": lazy_gettext("Outcome returned"),
}
GROUPS: Mapping[str, LazyString] = {
    "source": lazy_gettext("Source"),
    "campaign": lazy_gettext("Campaign"),
    "practice": lazy_gettext("Practice"),
    "owner": lazy_gettext("Owner"),
    "language": lazy_gettext("Language"),
    "state": lazy_gettext("US state"),
    "month": lazy_gettext("Month of arrival"),
}
PERIODS: Mapping[int, LazyString] = {
    7: lazy_gettext("7 days"),
    30: lazy_gettext("30 days"),
    90: lazy_gettext("90 days"),
    365: lazy_gettext("One year"),
}
WEEKDAYS: Sequence[LazyString] = (
    lazy_gettext("Mon"),
    lazy_gettext("Tue"),
    lazy_gettext("Wed"),
    lazy_gettext("Thu"),
    lazy_gettext("Fri"),
    lazy_gettext("Sat"),
    lazy_gettext("Sun"),
)
CONSENT_SOURCES: Mapping[str, LazyString] = {
    "confirmation": lazy_gettext("The person asked for the emails"),
    "invitation": lazy_gettext("A practice said that the person agrees to be asked"),
    "one_click": lazy_gettext("Unsubscribe button of the mail program"),
    "unsubscribe_page": lazy_gettext("Unsubscribe page"),
    "preferences": lazy_gettext("Preferences page"),
    "staff": lazy_gettext("Staff, for the person"),
    "provider": lazy_gettext("Mail provider"),
}
Definition = tuple[LazyString, LazyString]

_REQUESTS: Sequence[Definition] = (
    (STEPS["lead"], lazy_gettext("Contact requests of the period, by the day they came in. Spam and duplicates are left out.")),
    (STEPS["reached"], lazy_gettext("Staff spoke with the person: a logged attempt reached them, or the stage is Contacted or later.")),
    (STEPS["qualified"], lazy_gettext("The lead was at the stage Qualified or a later one.")),
    (STEPS["booked"], lazy_gettext("A consultation was booked, also if it was moved or cancelled later.")),
    (STEPS["attended"], lazy_gettext("A consultation took place.")),
    (STEPS["patient"], lazy_gettext("The lead came to the stage Patient.")),
    (GROUPS["practice"], lazy_gettext("The practice whose poster the person scanned.")),
)  # fmt: skip
_REFERRALS: Sequence[Definition] = (
    (STEPS["sent"], lazy_gettext("Referrals of the period, by the day they came in. Duplicates and mistakes are left out.")),
    (STEPS["accepted"], lazy_gettext("The referral was accepted.")),
    (STEPS["scheduled"], lazy_gettext("A visit was scheduled, also if it was moved, cancelled or missed later.")),
    (STEPS["attended"], lazy_gettext("The patient was seen.")),
    (STEPS["returned"], lazy_gettext("The patient was seen, and the outcome was marked as sent to the practice.")),
    (GROUPS["practice"], lazy_gettext("The practice that sent the referral.")),
)  # fmt: skip
_EVERY_STEP: Definition = (
    lazy_gettext("Every step"),
    lazy_gettext("A lead that took a step counts at all steps before it. A move that was undone does not count. Later steps of recent leads are still to come, so the newest weeks look weaker than they are."),
)  # fmt: skip
FUNNEL: Mapping[str, Sequence[Definition]] = {
    CONTACT_REQUEST: (*_REQUESTS, _EVERY_STEP),
    REFERRAL: (*_REFERRALS, _EVERY_STEP),
}
RESPONSE: Sequence[Definition] = (
    (lazy_gettext("First answer"), lazy_gettext("The first act of a staff member: a logged attempt, a finished call, or a move to a stage that needs one. Minutes count day and night, also while the clinic is closed.")),
    (lazy_gettext("Median"), lazy_gettext("Half of the answered leads were answered sooner.")),
    (lazy_gettext("Missed"), lazy_gettext("The first deadline, which counts in opening hours, passed without an answer.")),
    (lazy_gettext("Counted"), lazy_gettext("Leads that came in by themselves: contact form, referrer portal, other systems. Those that staff entered were answered as they came.")),
)  # fmt: skip
EMAIL: Sequence[Definition] = (
    (lazy_gettext("Sent"), lazy_gettext("Accepted by the mail provider, by the day the email was queued.")),
    (lazy_gettext("Delivered"), lazy_gettext("The recipient's mail server accepted it.")),
    (lazy_gettext("Bounced"), lazy_gettext("The address does not exist or refuses mail for good.")),
    (lazy_gettext("Blocked"), lazy_gettext("Refused for now, or held back by the mail provider.")),
    (lazy_gettext("Complained"), lazy_gettext("The recipient reported it as spam.")),
    (lazy_gettext("Opted out"), lazy_gettext("The recipient used a link or button of this very email to stop emails.")),
    (lazy_gettext("Not sent"), lazy_gettext("Skipped, failed or cancelled; the page of the message says why.")),
    (lazy_gettext("Opens and clicks"), lazy_gettext("Are not measured: no email holds a tracking image or a rewritten link, so there are no clicks of scanners to separate from those of people.")),
)  # fmt: skip
CONSULTATIONS: Sequence[Definition] = (
    (lazy_gettext("Consultations"), lazy_gettext("Those whose time was in the period, by that day. One that was moved counts at its new time; the old time counts as moved.")),
    (lazy_gettext("Attended"), lazy_gettext("The person came: recorded by staff.")),
    (lazy_gettext("No-show"), lazy_gettext("The person did not come, and had not cancelled.")),
    (lazy_gettext("Outcome missing"), lazy_gettext("The time has passed, and staff have not recorded what happened.")),
    (lazy_gettext("Reminded"), lazy_gettext("At least one reminder was emailed. Only people who agreed to be emailed get reminders, so the two groups differ in more than the reminder.")),
)  # fmt: skip
COHORTS: Sequence[Definition] = (
    (lazy_gettext("Month of arrival"), lazy_gettext("Leads by the month they came in. Spam, duplicates and mistakes are left out. The first month is always whole.")),
    (lazy_gettext("Booked within"), lazy_gettext("The share whose first booking was made less than so many days after they came in.")),
    (lazy_gettext("Attended within"), lazy_gettext("The share whose first visit took place less than so many days after they came in.")),
    (lazy_gettext("Too early"), lazy_gettext("Some leads of the month have not had as many days yet. So months can be compared fairly: each number is about leads that all had as long.")),
    (lazy_gettext("So far"), lazy_gettext("Until now, however long it took. Older months have had more time.")),
)  # fmt: skip
CONSENT: Sequence[Definition] = (
    (lazy_gettext("Asked"), lazy_gettext("Confirmation emails, by the day they were sent.")),
    (lazy_gettext("Confirmed"), lazy_gettext("Of these, how many were confirmed by the link in them. The link expires after 72 hours.")),
    (lazy_gettext("Withdrawn"), lazy_gettext("People who opted out on a day; a person who opts out of several topics on one day counts once.")),
)  # fmt: skip
