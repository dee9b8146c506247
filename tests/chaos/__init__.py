"""Faults: kill, cut, empty and fill up everything, then compare the stand-in's inbox with the ledger."""
