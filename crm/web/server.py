"""The web server's worker: Gunicorn's threads, with a limit on how long a request may take to arrive.

A client that sends one byte every few seconds would hold a thread for as long as it likes (slowloris); eight of them
would stop the site. A proxy that buffers requests, as docs/deploy/nginx.conf does, never lets such a request through;
this is what holds where none does.
"""

import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

READ_SECONDS = 20.0


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Threads that end a request whose bytes have not arrived in time; a request that has arrived takes what it needs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._until: dict[Any, float] = {}

    def enqueue_req(self, conn: Any) -> None:
        """Hand a connection to the threads, and note until when its bytes may arrive.

        The time counts from here, not from when a thread is free: else forty slow clients are ended four at a time. Of
        a request that waits for a thread, all that has arrived by then is still read.
        """
        self._until[conn] = time.monotonic() + READ_SECONDS
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Serve one request."""
        try:
            return super().handle(conn)
        finally:
            self._until.pop(conn, None)

    def murder_pending(self) -> None:
        """Gunicorn's round of every second: end the reading of late requests, too."""
        super().murder_pending()
        now = time.monotonic()
        for conn, until in list(self._until.items()):
            if now > until:
                self._until.pop(conn, None)
                with suppress(OSError):  # it has just ended by itself
                    conn.sock.shutdown(socket.SHUT_RD)  # of no effect on a request that was read
