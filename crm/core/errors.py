"""Refusals: errors that the person who asked is shown. `crm.web.errors` maps them to HTTP statuses."""

from collections.abc import Mapping, Sequence


class Refusal(Exception):
    """Base of all refusals. `message` may be shown to the person who made the request."""

    code = "refused"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(Refusal):
    code = "not_found"


class Conflict(Refusal):
    """The record has changed, or its state does not allow this."""

    code = "conflict"


class NotAllowed(Refusal):
    code = "not_allowed"


class TooMany(Refusal):
    """A limit was reached. `retry_after` is in seconds."""

    code = "too_many"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Invalid(Refusal):
    """Invalid input: field name -> messages."""

    code = "invalid"

    def __init__(
        self, fields: Mapping[str, Sequence[str]], message: str = "Some fields need another look."
    ) -> None:
        super().__init__(message)
        self.fields = {name: list(errors) for name, errors in fields.items()}
