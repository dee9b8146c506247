"""Who may open a record in an emergency, who has viewed it, and who views far more than their work needs."""
