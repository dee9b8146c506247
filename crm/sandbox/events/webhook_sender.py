"""The webhook sender: a thread that builds events for accepted mail and posts them, signed."""

import fcntl
import gzip
import http.client
import os
import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from sqlite3 import Row
from typing import IO
from urllib.parse import urlsplit

from crm.sandbox import call_log, fault_store
from crm.sandbox.events import outbox
from crm.sandbox.events.signing_key import signature_headers, signing_key
from crm.sandbox.faults import EventFaults
from crm.sandbox.settings import SandboxSettings
from crm.sandbox.store import Store

_NAP_SECONDS = 0.2
_GZIP = b"\x1f\x8b"
_EVENT_END = b",\r\n"
_BROKEN = (  # none of them is an event
    *(b"1", b"null", b'"text"', b"{}", b'{"event": "bounce", "timestamp": NaN}', b'{"reason": "\\ud800"}'),
    *(
        b'{"reason": "line\nbreak"}',
        b'{"reason": "\xff"}',
        b'{"event": "spamreport", "event": ',
        b'{"attempt": ' + b"9" * 5_000 + b"}",
    ),
)


class WebhookSender:
    """One sender per store, also among several processes: the process with the lock file sends."""

    def __init__(self, store: Store, settings: SandboxSettings) -> None:
        self._store = store
        self._settings = settings
        self._key = signing_key(settings.signing_key_path)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._lock: IO[bytes] | None = None
        self._connection: http.client.HTTPConnection | None = None

    def start(self) -> None:
        """Run in the background; does nothing when it runs already in this process."""
        if self._pid == os.getpid() and self._thread is not None:
            return
        self._pid, self._lock, self._connection = os.getpid(), None, None
        self._thread = threading.Thread(target=self._run, name="webhook_sender", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look now rather than at the end of the nap."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread after what it is doing."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join()
        if self._connection is not None:
            self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def work(self) -> bool:
        """Make and tell what is due now; return whether there was anything."""
        made = outbox.expand(self._store, self._settings)
        return bool(made) | self._tell()

    def _run(self) -> None:
        while not self._stop.is_set():
            busy = self._holds_lock() and self.work()
            if not busy:
                self._wake.wait(_NAP_SECONDS)
            self._wake.clear()

    def _holds_lock(self) -> bool:
        if self._lock is not None:
            return True
        file = Path(f"{self._store.path}.lock").open("ab")  # noqa: SIM115 - held as long as the process lives
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._lock = file
        return True

    def _tell(self) -> bool:
        faults = fault_store.event_faults(self._store)
        if faults.hold or not self._settings.webhook_url:
            return False
        chunks = outbox.due(self._store, now=self._settings.clock(), most=self._settings.max_events_per_post)
        if not chunks:
            return False
        trouble = self._post(_body(chunks, faults), sum(chunk["events"] for chunk in chunks))
        if not trouble and faults.duplicate:
            self._post(_body(chunks, faults), sum(chunk["events"] for chunk in chunks))
        if trouble:
            outbox.mark_failed(self._store, chunks, trouble, self._settings)
        else:
            outbox.mark_sent(self._store, chunks)
        return True

    def _post(self, body: bytes, events: int) -> str:
        """Post once; return what went wrong, nothing when the answer was 2xx. Redirects are not followed."""
        url = urlsplit(self._settings.webhook_url or "")
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        started = time.monotonic()
        try:
            status, trouble = self._exchange(url.scheme, url.netloc, path, body), ""
        except (OSError, http.client.HTTPException) as error:
            status, trouble = 0, _in_words(error)
        if not trouble and not 200 <= status < 300:
            trouble = f"answered {status}"
        call_log.record(
            self._store,
            at=self._settings.clock(),
            way="out",
            method="POST",
            path=path,
            status=status,
            note=f"{events} event{'' if events == 1 else 's'}" + (f", {trouble}" if trouble else ""),
            started=started,
        )
        return trouble

    def _exchange(self, scheme: str, host: str, path: str, body: bytes) -> int:
        headers = {
            "Content-Type": "application/json;charset=utf-8",
            "User-Agent": "SendGrid Event API",
            **({"Content-Encoding": "gzip"} if body.startswith(_GZIP) else {}),
            **signature_headers(self._key, body, at=self._settings.clock()),
        }
        for kept in (self._connection is not None, False):
            try:
                return self._once(scheme, host, path, body, headers)
            except (ConnectionError, http.client.RemoteDisconnected):
                if not kept:  # a kept connection may have ended while idle: once more on a fresh one
                    raise
        raise AssertionError("unreachable")

    def _once(self, scheme: str, host: str, path: str, body: bytes, headers: dict[str, str]) -> int:
        if self._connection is None:
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            self._connection = kind(host, timeout=self._settings.webhook_timeout)
        try:
            self._connection.request("POST", path, body, headers)
            answer = self._connection.getresponse()
            answer.read()
        except BaseException:
            with suppress(OSError):
                self._connection.close()
            self._connection = None
            raise
        return answer.status


def _in_words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return f"the connection broke ({type(error).__name__})"


def _body(chunks: Sequence[Row], faults: EventFaults) -> bytes:
    if not (faults.shuffle or faults.garble):
        body = outbox.post_body(chunks)
    else:
        events = [one for chunk in chunks for one in chunk["body"].split(_EVENT_END)]
        events += _BROKEN if faults.garble else ()
        if faults.shuffle:
            random.shuffle(events)
        body = b"[" + _EVENT_END.join(events) + b"]\r\n"
    return gzip.compress(body) if faults.gzip else body
