"""Where a page leads back to, when the form said so."""

from flask import request

from crm.core.errors import Invalid

_HOME = "/console/"


def safe_next_url() -> str | None:
    """Return the page of the console that the request names in `back`; None when it names none.

    Raises Invalid for an address anywhere else: nobody is sent away from here by a made-up link.
    """
    address = request.values.get("back", "")
    if not address:
        return None
    if not address.startswith(_HOME) or not address.isprintable() or "\\" in address or len(address) > 2000:
        raise Invalid({"back": ["This does not lead to a page of the console."]})
    return address


def safe_path(address: str) -> str | None:
    """Return a path on this site; None for anything a made-up link could send people away with."""
    plain = address.startswith("/") and not address.startswith(("//", "/\\"))
    return (
        address if plain and address.isprintable() and "\\" not in address and len(address) <= 2000 else None
    )
