"""From a content file to an email: source, Markdown, merge fields, HTML and text."""
