"""Practices at the desk: the list, and the page of one with its referrals, people, numbers, notes and tasks."""
