"""Opening hours that tests count with."""

from zoneinfo import ZoneInfo

from crm.core import business_hours

LA = ZoneInfo("America/Los_Angeles")
OFFICE = business_hours.calendar(zone=LA, hours="Mon-Fri 08:00-17:00", closed="holidays")
