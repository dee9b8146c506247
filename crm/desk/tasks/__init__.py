"""Tasks of staff: lists by person and day, editing, many at once."""
