"""Files of people in: upload, check, import, undo."""
