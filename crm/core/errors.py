"""What the business can refuse. No HTTP here: `crm.web.errors` decides the number."""

from collections.abc import Mapping, Sequence


class Refusal(Exception):
    """Base of everything the business says no to. `message` is fit to be shown to the person who asked."""

    code = "refused"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(Refusal):
    code = "not_found"


class Conflict(Refusal):
    """The thing has changed, or is in a state that does not allow this."""

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
    """Input that cannot be taken: field name -> what is wrong with it, in words."""

    code = "invalid"

    def __init__(
        self, fields: Mapping[str, Sequence[str]], message: str = "Some fields need another look."
    ) -> None:
        super().__init__(message)
        self.fields = {name: list(errors) for name, errors in fields.items()}
