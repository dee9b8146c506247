"""Practices and clinicians who send people to us."""
