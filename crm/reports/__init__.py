"""Reports: roll-ups that a job keeps and repairs, the pages that read them, and the home page of each role."""
