"""Writing the audit log, and chaining it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from crm import clock
from crm.audit.models import AuditEntry
from crm.db import db


@dataclass(frozen=True, kw_only=True)
class Acting:
    """On whose behalf this request, job or command runs."""

    actor: str = "system"
    ip_index: bytes | None = None


_acting: ContextVar[Acting] = ContextVar("acting", default=Acting())  # noqa: B039 - frozen


@contextmanager
def acting(actor: str, *, ip_index: bytes | None = None) -> Iterator[None]:
    """Name the actor ("staff:7", "key:3", "referrer:4", "public", "system") for everything inside."""
    token = _acting.set(Acting(actor=actor, ip_index=ip_index))
    try:
        yield
    finally:
        _acting.reset(token)


def current() -> Acting:
    """Return who is acting now."""
    return _acting.get()


def record(
    action: str,
    *,
    object_type: str | None = None,
    object_id: int | None = None,
    purpose: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Note one act or look by whoever is acting. `detail` takes ids and codes, never personal data."""
    who = current()
    db.session.add(
        AuditEntry(
            at=clock.now(),
            actor=who.actor,
            action=action,
            object_type=object_type,
            object_id=object_id,
            purpose=purpose,
            ip_index=who.ip_index,
            detail=detail,
        )
    )
