"""Every table, imported in one place for migrations and for whoever needs the whole metadata."""

from crm.audit import models as audit
from crm.campaigns import models as campaigns
from crm.consent import models as consent
from crm.contacts import models as contacts
from crm.content import models as content
from crm.interop import models as interop
from crm.interop import referral_models as referral_files
from crm.leads import desk_models as desk
from crm.leads import list_models as lists
from crm.leads import merge_models as merges
from crm.leads import models as leads
from crm.leads import portal_models as portal
from crm.messages import models as messages
from crm.referrers import models as referrers
from crm.sequences import models as sequences
from crm.staff import models as staff
from crm.tracking import models as tracking

__all__ = [
    "audit", "campaigns", "consent", "contacts", "content", "desk", "interop", "leads", "lists", "merges", "messages", "portal",
    "referral_files", "referrers", "sequences", "staff", "tracking",
]  # fmt: skip
