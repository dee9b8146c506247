"""The log of API and webhook calls: shows attempts that left no mail."""

import time
from typing import Any

from crm.sandbox.store import Store

_KEEP = 20_000


def record(
    store: Store, *, at: float, way: str, method: str, path: str, status: int, note: str = "", started: float
) -> None:
    """Log one call. `way` is `in` or `out`, `status` 0 means no answer, `started` is monotonic seconds."""
    took = (time.monotonic() - started) * 1000
    with store.write() as connection:
        cursor = connection.execute(
            "INSERT INTO calls (at, way, method, path, status, note, ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (at, way, method, path, status, note, round(took, 1)),
        )
        if cursor.lastrowid and cursor.lastrowid % 1000 == 0:
            connection.execute("DELETE FROM calls WHERE id <= ?", (cursor.lastrowid - _KEEP,))


def latest(store: Store, *, limit: int = 100, way: str | None = None) -> list[dict[str, Any]]:
    """Return the latest calls, newest first."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT * FROM calls WHERE ? IS NULL OR way = ? ORDER BY id DESC LIMIT ?", (way, way, limit)
        ).fetchall()
    return [dict(row) for row in rows]


def clear(store: Store) -> None:
    with store.write() as connection:
        connection.execute("DELETE FROM calls")
