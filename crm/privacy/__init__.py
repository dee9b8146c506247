"""Erasure of a person on request, and retention periods."""
