"""Faults: kill, cut, empty and fill up everything, then compare the sandbox's inbox with the ledger."""
