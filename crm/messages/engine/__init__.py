"""Sending a batch: claim, deliver, record, and the sweep that finds what got stuck."""
