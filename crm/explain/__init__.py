"""Why a person got, or did not get, an email."""
