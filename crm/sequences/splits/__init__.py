"""Splits of sequences: how many people of each way booked a consultation, and what that shows."""
