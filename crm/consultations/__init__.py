"""Booking a consultation: booked, moved, cancelled, missed, attended."""
