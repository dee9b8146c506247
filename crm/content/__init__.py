"""Email content: what it says, in which language, who approved it, and how it becomes a mail."""
