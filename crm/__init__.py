"""A clinic's CRM and marketing automation."""
