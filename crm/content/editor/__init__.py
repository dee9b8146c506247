"""Writing content in the console: drafts, form fields, preview, editor marks."""
