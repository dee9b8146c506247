"""Duplicate records of one person: finding, merging, undoing a merge."""
