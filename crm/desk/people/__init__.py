"""People at the desk: the list of contacts, the page of one, editing, new entries, comparing records."""
