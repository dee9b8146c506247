"""Testimonials of patients in emails, and the written authorizations they need."""
