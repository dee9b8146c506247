"""One-off sends to an audience that is frozen at launch."""
