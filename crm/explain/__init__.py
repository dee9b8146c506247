"""Why somebody got, or did not get, an email."""
