"""A person: names, addresses, language, time zone, and the timeline of what happened."""
