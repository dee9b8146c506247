"""Messages that the next page shows once."""

from typing import cast

from flask import flash


def flash_with_undo(text: str, *, undo: str) -> None:
    """Say what was done, with a button that posts to the address `undo`."""
    flash(cast(str, {"text": text, "undo": undo}), "success")  # Flask keeps any JSON; its types say text
