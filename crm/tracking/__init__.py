"""Provider events in, and what they say about a message."""
