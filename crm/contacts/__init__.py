"""Contacts: names, addresses, language, time zone and timeline of a person."""
