"""Notifications: what concerns one member of staff, behind the bell and in a digest by email."""
