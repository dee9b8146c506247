"""Referral triage: a clinician decides on one referral after the other."""
