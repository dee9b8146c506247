"""Core: settings, database, queue, clock, errors, limits. Every feature may import it; it imports no feature."""
