"""The transport that keeps what it was given, as the tests of sending have it."""

from tests.messages.conftest import outbox

__all__ = ["outbox"]
