"""What the list of viewers says a member of staff did, as the end of a sentence."""

from collections.abc import Mapping

ACTIONS: Mapping[str, str] = {
    "lead.view": "viewed the page of a lead",
    "lead.print": "printed the page of a lead",
    "contact.view": "viewed the person’s page",
    "contact.compare": "compared the person’s record with another",
    "contact.emergency": "opened the clinical details as an emergency",
    "contact.erase_view": "looked at what an erasure would delete",
    "portal_message.view": "read the messages and files of the practice",
    "referral.view": "viewed the referral",
    "contact.export": "exported the person’s data",
}
"""Action of the audit log -> words. Other actions change something and stand in the timeline."""
