"""Files of people out."""
