"""Bulk upload of referrals by a practice."""
