"""Erasing a person on request, and what is deleted by itself after a time."""
