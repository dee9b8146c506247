"""What is set about the clinic in the console: facts, opening hours, colors, logo."""
