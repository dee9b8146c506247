"""Leads: referrals and contact requests, from first touch to booked or lost."""
