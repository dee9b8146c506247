"""May we write to this person, for this purpose, on this channel; the evidence; suppression; preferences."""
