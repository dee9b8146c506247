"""Which faults are set, kept in the store so that they hold for every process and survive a restart."""

from typing import Any

import orjson

from crm.sandbox.faults import EventFaults, Fault
from crm.sandbox.store import Store


def replace(store: Store, faults: list[Fault], events: EventFaults) -> None:
    """Set exactly these faults."""
    with store.write() as connection:
        connection.execute("DELETE FROM faults")
        connection.executemany(
            "INSERT INTO faults (fault, remaining) VALUES (?, ?)", [_row(fault) for fault in faults]
        )
        connection.execute(
            "INSERT OR REPLACE INTO facts VALUES ('events', ?)", (orjson.dumps(events).decode(),)
        )


def add(store: Store, fault: Fault) -> None:
    with store.write() as connection:
        connection.execute("INSERT INTO faults (fault, remaining) VALUES (?, ?)", _row(fault))


def remove(store: Store, position: int) -> None:
    with store.write() as connection:
        connection.execute("DELETE FROM faults WHERE position = ?", (position,))


def take_due(store: Store, *, where: str) -> list[Fault]:
    """Return the faults that strike this request, in the order they were set, and count them down.

    `where` is `send` for mail/send and `all` for any other endpoint.
    """
    with store.read() as connection:
        if connection.execute("SELECT 1 FROM faults LIMIT 1").fetchone() is None:
            return []
    hit: list[Fault] = []
    with store.write() as connection:
        for row in connection.execute("SELECT * FROM faults ORDER BY position").fetchall():
            fault = Fault(**orjson.loads(row["fault"]))
            if row["remaining"] == 0 or (fault.where != "all" and where != "send"):
                continue
            strikes = fault.triggers(turn=row["turns"])
            connection.execute(
                "UPDATE faults SET turns = turns + 1, hits = hits + ?, remaining = remaining - ? WHERE position = ?",
                (strikes, strikes, row["position"]),
            )
            if strikes:
                hit.append(fault)
                if fault.kind != "delay":  # the first that decides the outcome ends the search
                    break
    return hit


def list_faults(store: Store) -> list[dict[str, Any]]:
    """Return every fault as set, with `position`, `left` (None: no end), `hits` and its description `in_words`."""
    with store.read() as connection:
        rows = connection.execute("SELECT * FROM faults ORDER BY position").fetchall()
    found = []
    for row in rows:
        fault = Fault(**orjson.loads(row["fault"]))
        found.append(
            {
                **fault.as_dict(),
                "position": row["position"],
                "left": row["remaining"],
                "hits": row["hits"],
                "in_words": fault.in_words(),
            }
        )
    return found


def event_faults(store: Store) -> EventFaults:
    with store.read() as connection:
        row = connection.execute("SELECT value FROM facts WHERE name = 'events'").fetchone()
    return EventFaults(**orjson.loads(row["value"])) if row else EventFaults()


def set_event_faults(store: Store, events: EventFaults) -> None:
    with store.write() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO facts VALUES ('events', ?)", (orjson.dumps(events).decode(),)
        )


def _row(fault: Fault) -> tuple[str, int | None]:
    return orjson.dumps(fault).decode(), fault.times
