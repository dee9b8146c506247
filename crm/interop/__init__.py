"""Data in and out: files of contacts and leads."""
