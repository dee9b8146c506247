"""flask commands. Features with more than one bring their own group in `<feature>/cli.py`."""

from flask import Flask


def register_commands(app: Flask) -> None:
    """Hang every command on the app."""
