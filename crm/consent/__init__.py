"""Email consent: permission per person, topic and channel; evidence; suppression; preferences."""
