"""The outbox of events: stored until the webhook accepts them, sent in batches."""

from collections.abc import Iterable, Sequence
from sqlite3 import Connection, Row
from typing import Any

import orjson

from crm.sandbox.events.event_factory import Suppression, make_events, suppressing_lists, suppression
from crm.sandbox.events.magic_addresses import Recipient, build_event
from crm.sandbox.mail import Mail
from crm.sandbox.settings import SandboxSettings
from crm.sandbox.store import Store

MAX_POST_BYTES = 768 * 1024
_SEPARATOR = b",\r\n"


def expand(store: Store, settings: SandboxSettings, *, limit: int = 20) -> int:
    """Make the events of requests whose moment has come; return of how many requests.

    The events are made before the transaction that keeps them, so that accepting mail never waits for it.
    """
    now = settings.clock()
    with store.read() as connection:
        rows = connection.execute(
            "SELECT seq, id, due_at, body FROM requests WHERE expanded = 0 AND due_at <= ? ORDER BY due_at LIMIT ?",
            (now, limit),
        ).fetchall()
    for row in rows:
        _expand_one(store, row, settings)
    return len(rows)


def add_event(store: Store, mail: Mail, kind: str, settings: SandboxSettings) -> list[dict[str, Any]]:
    """Make an event for every receiver of a mail now; `duplicate` tells everything told so far once more."""
    now = settings.clock()
    if kind == "duplicate":
        made = events_of(store, mail)
    else:
        attempt = 1 + sum(one["event"] == "deferred" for one in events_of(store, mail))
        made = [build_event(kind, recipient, at=now, attempt=attempt) for recipient in _recipients(mail)]
    with store.write() as connection:
        (seq,) = connection.execute("SELECT seq FROM requests WHERE id = ?", (mail.request_id,)).fetchone()
        _suppress(connection, filter(None, (suppression(kind, one) for one in made)))
        _keep(connection, seq, [orjson.dumps(_bare(one)) for one in made], now, settings)
    return [_bare(one) for one in made]


def events_of(store: Store, mail: Mail) -> list[dict[str, Any]]:
    """Return the events of one mail in the order they were made, each with how its telling stands.

    `told` is `waiting`, `told`, `given up` or `nobody to tell`; `trouble` says what the last try met with.
    """
    return events_of_request(store, mail.request_id, {address.lower() for address in mail.recipients})


def events_of_request(store: Store, request_id: str, addresses: set[str]) -> list[dict[str, Any]]:
    with store.read() as connection:
        chunks = connection.execute(
            "SELECT c.body, c.state, c.trouble FROM chunks c JOIN requests r ON r.seq = c.request WHERE r.id = ? "
            "ORDER BY c.made_at, c.id",
            (request_id,),
        ).fetchall()
    return [
        {**one, "told": chunk["state"], "trouble": chunk["trouble"]}
        for chunk in chunks
        for one in orjson.loads(b"[" + chunk["body"] + b"]")
        if one["email"].lower() in addresses
    ]


def due(store: Store, *, now: float, most: int) -> list[Row]:
    """Return chunks to tell now, together at most `most` events (always at least one chunk) and 768 KB."""
    with store.read() as connection:
        rows = connection.execute(
            "SELECT id, events, attempts, made_at, body FROM chunks WHERE state = 'waiting' AND next_at <= ? "
            "ORDER BY next_at, id LIMIT ?",
            (now, most),
        )
        taken: list[Row] = []
        events = size = 0
        for row in rows:
            events, size = events + row["events"], size + len(row["body"])
            if taken and (events > most or size > MAX_POST_BYTES):
                break
            taken.append(row)
        rows.close()
    return taken


def post_body(chunks: Sequence[Row]) -> bytes:
    """Return the array as SendGrid writes it: a line end after every event."""
    return b"[" + _SEPARATOR.join(chunk["body"] for chunk in chunks) + b"]\r\n"


def mark_sent(store: Store, chunks: Sequence[Row]) -> None:
    with store.write() as connection:
        connection.executemany(
            "UPDATE chunks SET state = 'told', trouble = '' WHERE id = ?",
            [(chunk["id"],) for chunk in chunks],
        )


def mark_failed(store: Store, chunks: Sequence[Row], trouble: str, settings: SandboxSettings) -> None:
    """Plan the next try at a growing interval, or give up on events older than the limit."""
    now = settings.clock()
    with store.write() as connection:
        for chunk in chunks:
            late = min(settings.retry_first * 2 ** min(chunk["attempts"], 30), settings.retry_longest)
            state = "given up" if now - chunk["made_at"] > settings.give_up_after else "waiting"
            connection.execute(
                "UPDATE chunks SET attempts = attempts + 1, next_at = ?, state = ?, trouble = ? WHERE id = ?",
                (now + late, state, trouble[:200], chunk["id"]),
            )


def retry_now(store: Store, *, now: float) -> None:
    """Retry waiting events now."""
    with store.write() as connection:
        connection.execute("UPDATE chunks SET next_at = min(next_at, ?) WHERE state = 'waiting'", (now,))


def _expand_one(store: Store, row: Row, settings: SandboxSettings) -> None:
    waves: list[list[bytes]] = []
    suppressed: list[Suppression] = []
    if settings.events:
        body = orjson.loads(row["body"])
        with store.read() as connection:
            lists = suppressing_lists(connection, body)
        waves, suppressed = make_events(row["id"], body, lists, at=row["due_at"], gap=settings.wave_gap)
    with store.write() as connection:
        found = connection.execute("UPDATE requests SET expanded = 1 WHERE seq = ?", (row["seq"],))
        if not found.rowcount:  # forgotten meanwhile
            return
        _suppress(connection, suppressed)
        for number, wave in enumerate(waves):
            _keep(connection, row["seq"], wave, row["due_at"] + number * settings.wave_gap, settings)


def _recipients(mail: Mail) -> list[Recipient]:
    return [
        Recipient(
            email=address,
            request_id=mail.request_id,
            index=mail.index,
            custom_args=mail.custom_args,
            categories=mail.categories,
        )
        for address in mail.recipients
    ]


def _suppress(connection: Connection, suppressed: Iterable[Suppression]) -> None:
    connection.executemany("INSERT OR REPLACE INTO suppressions VALUES (?, ?, ?, ?, ?)", suppressed)


def _keep(
    connection: Connection, seq: int, events: list[bytes], at: float, settings: SandboxSettings
) -> None:
    state = "waiting" if settings.webhook_url else "nobody to tell"
    step = settings.max_events_per_post
    for start in range(0, len(events), step):
        part = events[start : start + step]
        connection.execute(
            "INSERT INTO chunks (request, made_at, next_at, events, state, body) VALUES (?, ?, ?, ?, ?, ?)",
            (seq, at, at, len(part), state, _SEPARATOR.join(part)),
        )


def _bare(one: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key not in ("told", "trouble")}
