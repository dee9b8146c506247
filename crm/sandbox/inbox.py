"""The accepted mail: taking it in, finding it again, forgetting it."""

import base64
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from sqlite3 import Connection, Row
from typing import Any

import orjson

from crm.sandbox.mail import Mail, custom_args, mail_at
from crm.sandbox.store import Store

_ERASED = "erased@erased.invalid"


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some mails and the cursor that continues after them, None at the end."""

    mails: list[Mail]
    next: str | None


def store_request(store: Store, body: bytes, *, mails: int, now: float, due_at: float, answered: bool) -> str:
    """Store a request that passed every check; return its X-Message-Id. Durable when this returns."""
    request_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
    with store.write() as connection:
        connection.execute(
            "INSERT INTO requests (id, received_at, due_at, mails, answered, expanded, body) "
            "VALUES (?, ?, ?, ?, ?, 0, ?)",
            (request_id, now, due_at, mails, answered, body),
        )
    return request_id


def request_body(store: Store, request_id: str) -> bytes | None:
    """Return the body of an accepted request, byte for byte."""
    with store.read() as connection:
        row = connection.execute("SELECT body FROM requests WHERE id = ?", (request_id,)).fetchone()
    return None if row is None else bytes(row["body"])


def request_row(store: Store, request_id: str) -> Row | None:
    with store.read() as connection:
        row: Row | None = connection.execute("SELECT * FROM requests WHERE id = ?", (request_id,)).fetchone()
    return row


def get_mail(store: Store, mail_id: str) -> Mail | None:
    """Return a mail by its id, `<X-Message-Id>.<index of the personalization>`."""
    request_id, _, place = mail_id.rpartition(".")
    row = request_row(store, request_id)
    if row is None or not place.isdecimal() or int(place) >= row["mails"]:
        return None
    return _mail(row, orjson.loads(row["body"]), int(place))


def page(
    store: Store,
    *,
    to: str = "",
    exact: bool = True,
    after: str = "",
    limit: int = 50,
    oldest_first: bool = False,
) -> Page:
    """Return mails, newest first unless asked otherwise, `after` a cursor given earlier.

    `to` keeps those to one address; with `exact` false, to addresses that contain it.
    """
    start = _cursor(after) or ((0, -1) if oldest_first else (2**62, 0))
    if to:
        places = _places_to(store, to.lower(), exact, start, limit + 1, oldest_first)
    else:
        places = _places(store, start, limit + 1, oldest_first)
    last = places[limit - 1] if len(places) > limit else None
    return Page(mails=list(_load(store, places[:limit])), next=f"{last[0]}-{last[1]}" if last else None)


def count(store: Store) -> dict[str, int]:
    """Return how many requests and mails are kept and how many events wait to be sent."""
    with store.read() as connection:
        requests, mails = connection.execute(
            "SELECT count(*), coalesce(sum(mails), 0) FROM requests"
        ).fetchone()
        (waiting,) = connection.execute(
            "SELECT coalesce(sum(events), 0) FROM chunks WHERE state = 'waiting'"
        ).fetchone()
        (unexpanded,) = connection.execute("SELECT count(*) FROM requests WHERE expanded = 0").fetchone()
    return {
        "requests": requests,
        "messages": mails,
        "events_waiting": waiting,
        "requests_without_events_yet": unexpanded,
    }


def recipients(store: Store, *, argument: str | None = None) -> Iterator[list[str | None]]:
    """Yield [custom arg value, address, request id] of every accepted receiver, oldest first.

    `argument` names the custom arg; without it the first one a mail carries is taken.
    """
    seq = 0
    while rows := _next_requests(store, seq):
        for row in rows:
            seq = row["seq"]
            yield from _recipients_of(row["id"], orjson.loads(row["body"]), argument)


def clear(store: Store) -> None:
    """Empty the inbox, with the events of every mail."""
    with store.write() as connection:
        for table in ("requests", "chunks", "addresses"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("DELETE FROM facts WHERE name = 'indexed'")


def erase(store: Store, addresses: list[str]) -> None:
    """Take these people's names, addresses and values out of stored mail. Custom args stay, as at SendGrid."""
    index_addresses(store)
    with store.write() as connection:
        for address in addresses:
            found = connection.execute(
                "SELECT seq, place FROM addresses WHERE address = ?", (address.lower(),)
            ).fetchall()
            for seq, place in found:
                _erase_one(connection, seq, place)
            connection.execute("DELETE FROM addresses WHERE address = ?", (address.lower(),))


def index_addresses(store: Store) -> None:
    """Bring the index of addresses up to date. A search does it, so that accepting mail stays quick."""
    while True:
        with store.write() as connection:
            row = connection.execute("SELECT value FROM facts WHERE name = 'indexed'").fetchone()
            rows = connection.execute(
                "SELECT seq, body FROM requests WHERE seq > ? ORDER BY seq LIMIT 20",
                (int(row[0]) if row else 0,),
            ).fetchall()
            if not rows:
                return
            connection.executemany(
                "INSERT OR IGNORE INTO addresses VALUES (?, ?, ?)",
                [entry for row in rows for entry in _index_entries(row)],
            )
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('indexed', ?)", (str(rows[-1]["seq"]),))


def receivers(person: dict[str, Any]) -> list[str]:
    """Return every address of a personalization: to, cc, bcc."""
    return [one["email"] for kind in ("to", "cc", "bcc") for one in person.get(kind) or ()]


def _index_entries(row: Row) -> Iterator[tuple[str, int, int]]:
    for place, person in enumerate(orjson.loads(row["body"])["personalizations"]):
        for address in receivers(person):
            yield address.lower(), row["seq"], place


def _recipients_of(request_id: str, body: dict[str, Any], argument: str | None) -> Iterator[list[str | None]]:
    for person in body["personalizations"]:
        arguments = custom_args(body, person)
        value = arguments.get(argument) if argument else next(iter(arguments.values()), None)
        for address in receivers(person):
            yield [value, address, request_id]


def _next_requests(store: Store, seq: int) -> list[Row]:
    with store.read() as connection:
        return connection.execute(
            "SELECT seq, id, body FROM requests WHERE seq > ? ORDER BY seq LIMIT 10", (seq,)
        ).fetchall()


def _mail(row: Row, body: dict[str, Any], place: int) -> Mail:
    return mail_at(
        body, place, request_id=row["id"], received_at=row["received_at"], answered=bool(row["answered"])
    )


def _cursor(after: str) -> tuple[int, int] | None:
    seq, _, place = after.partition("-")
    return (int(seq), int(place)) if seq.isdecimal() and place.isdecimal() else None


def _places(store: Store, start: tuple[int, int], limit: int, oldest_first: bool) -> list[tuple[int, int]]:
    comparison, direction = (">=", "ASC") if oldest_first else ("<=", "DESC")
    with store.read() as connection:
        rows = connection.execute(
            f"SELECT seq, mails FROM requests WHERE seq {comparison} ? ORDER BY seq {direction} LIMIT ?",
            (start[0], limit + 1),
        ).fetchall()
    found: list[tuple[int, int]] = []
    for seq, mails in rows:
        order = range(mails) if oldest_first else range(mails - 1, -1, -1)
        every = ((seq, place) for place in order)
        found += [one for one in every if (one > start if oldest_first else one < start)]
        if len(found) >= limit:
            break
    return found[:limit]


def _places_to(
    store: Store, to: str, exact: bool, start: tuple[int, int], limit: int, oldest_first: bool
) -> list[tuple[int, int]]:
    index_addresses(store)
    comparison, direction = (">", "ASC") if oldest_first else ("<", "DESC")
    match = "address = ?" if exact else "instr(address, ?) > 0"
    with store.read() as connection:
        return [
            (row[0], row[1])
            for row in connection.execute(
                f"SELECT DISTINCT seq, place FROM addresses WHERE {match} AND (seq, place) {comparison} (?, ?) "
                f"ORDER BY seq {direction}, place {direction} LIMIT ?",
                (to, *start, limit),
            )
        ]


def _load(store: Store, places: list[tuple[int, int]]) -> Iterator[Mail]:
    known: tuple[int, Row, dict[str, Any]] | None = None
    for seq, place in places:
        if known is None or known[0] != seq:
            with store.read() as connection:
                row = connection.execute("SELECT * FROM requests WHERE seq = ?", (seq,)).fetchone()
            if row is None:
                continue
            known = (seq, row, orjson.loads(row["body"]))
        yield _mail(known[1], known[2], place)


def _erase_one(connection: Connection, seq: int, place: int) -> None:
    row = connection.execute("SELECT body FROM requests WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        return
    body = orjson.loads(row["body"])
    person = body["personalizations"][place]
    gone = {address.lower() for address in receivers(person)}
    body["personalizations"][place] = {
        "to": [{"email": _ERASED}],
        "subject": "(erased)",
        "custom_args": person.get("custom_args", {}),
    }
    connection.execute("UPDATE requests SET body = ? WHERE seq = ?", (orjson.dumps(body), seq))
    for chunk in connection.execute("SELECT id, body FROM chunks WHERE request = ?", (seq,)).fetchall():
        events = orjson.loads(b"[" + chunk["body"] + b"]")
        kept = [{**one, "email": _ERASED} if one["email"].lower() in gone else one for one in events]
        connection.execute(
            "UPDATE chunks SET body = ? WHERE id = ?", (b",\r\n".join(map(orjson.dumps, kept)), chunk["id"])
        )
