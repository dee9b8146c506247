"""Saved audiences: a rule about people, evaluated purely and compiled to SQL."""
