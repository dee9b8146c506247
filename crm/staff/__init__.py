"""Accounts of the people who work here, their roles, API keys and alerts."""
