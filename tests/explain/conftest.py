"""The transport and audience that the tests of broadcasts use."""

from tests.campaigns.conftest import outbox

__all__ = ["outbox"]
