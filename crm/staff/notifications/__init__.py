"""Notifications: what concerns one member of staff, in the top bar and in a digest by email."""
