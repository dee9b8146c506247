"""Shared blocks over time: what an email was approved with, what stands there now, and one approval for many emails."""
