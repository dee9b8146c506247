"""Every table, imported in one place for migrations and for code that needs the whole metadata."""

from crm.audit import models as audit
from crm.campaigns import models as campaigns
from crm.clinic import models as clinic
from crm.consent import models as consent
from crm.consultations import models as consultations
from crm.contacts import models as contacts
from crm.content import models as content
from crm.desk import models as desk
from crm.duplicates import models as duplicates
from crm.imports import models as imports
from crm.leads import models as leads
from crm.leads.documents import models as documents
from crm.messages import models as messages
from crm.portal import models as portal
from crm.portal.uploads import models as uploads
from crm.privacy import models as privacy
from crm.referrers import models as referrers
from crm.reports import models as reports
from crm.segments import models as segments
from crm.sequences import models as sequences
from crm.staff import models as staff
from crm.staff.notifications import models as notifications
from crm.tracking import models as tracking

__all__ = [
    "audit", "campaigns", "clinic", "consent", "consultations", "contacts", "content", "desk", "documents", "duplicates",
    "imports", "leads", "messages", "notifications", "portal", "privacy", "referrers", "reports", "segments", "sequences",
    "staff", "tracking", "uploads",
]  # fmt: skip
