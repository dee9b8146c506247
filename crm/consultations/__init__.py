"""Consultations: booking, rescheduling, cancellation, results."""
