"""Timed education: versions, steps, enrolment, the planner."""
