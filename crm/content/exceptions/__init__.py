"""Signed exceptions: one finding of one sentence that a clinician and an administrator let pass until a day."""
