"""The present time. In a demo the clock can be moved ahead; in production it is real time."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta

from flask import has_app_context

from crm.core import current

_pretended: ContextVar[datetime | None] = ContextVar("pretended", default=None)


def now() -> datetime:
    """Return the present moment in UTC, moved ahead by the demo clock of the running app. Outside an app: real time."""
    pretended = _pretended.get()
    if pretended is not None:
        return pretended
    real = datetime.now(UTC)
    return real + current.services().demo_clock.offset() if has_app_context() else real


def real_now() -> datetime:
    """Return the present moment in UTC, whatever the demo clock says: for what keeps people out or lets them in."""
    return datetime.now(UTC)


def today() -> date:
    """Return the clinic's present day: in the evening of Los Angeles, UTC is a day ahead. Only inside an app context."""
    return now().astimezone(current.calendar().zone).date()


@contextmanager
def pretend(moment: datetime) -> Iterator[None]:
    """Make `now` return `moment` inside the block: to write a demo's past, or to try a future."""
    token = _pretended.set(moment)
    try:
        yield
    finally:
        _pretended.reset(token)


def move_ahead(by: timedelta) -> datetime:
    """Move the demo clock of all processes of this installation; return the new time. Raises RuntimeError in production."""
    current.services().demo_clock.move_ahead(by)
    return now()
