"""Patients' words in emails, and the written authorizations they need."""
