"""Bulk actions: one action on many leads, planned, done in the background, undone within the hour."""
