"""Tasks: their rules, and editing, assigning, snoozing and finishing them."""
