"""API keys: who calls the API, what a key may do, and its page in the console."""
