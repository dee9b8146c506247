"""Calling: the order of calls, who calls whom, one call after the other."""
