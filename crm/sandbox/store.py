"""The store of the sandbox: one SQLite file.

What is committed here survives the death of the process at any instant (not of the machine: nothing is synced
to the disk). A request is stored whole and once, however many people it goes to; it is split only when it
is read. Events are stored in chunks; a chunk holds events of one request that are sent together.
"""

import os
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, received_at REAL NOT NULL,
  due_at REAL NOT NULL, mails INTEGER NOT NULL, answered INTEGER NOT NULL, expanded INTEGER NOT NULL,
  body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS requests_to_expand ON requests (due_at) WHERE expanded = 0;
CREATE TABLE IF NOT EXISTS chunks (
  id INTEGER PRIMARY KEY AUTOINCREMENT, request INTEGER NOT NULL, made_at REAL NOT NULL, next_at REAL NOT NULL,
  events INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL,
  trouble TEXT NOT NULL DEFAULT '', body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS chunks_waiting ON chunks (next_at, id) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS chunks_of_request ON chunks (request);
CREATE TABLE IF NOT EXISTS addresses (
  address TEXT NOT NULL, seq INTEGER NOT NULL, place INTEGER NOT NULL,
  PRIMARY KEY (address, seq, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS suppressions (
  email TEXT NOT NULL, list TEXT NOT NULL, created INTEGER NOT NULL, reason TEXT NOT NULL DEFAULT '',
  status TEXT NOT NULL DEFAULT '', PRIMARY KEY (email, list)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS faults (
  position INTEGER PRIMARY KEY, fault TEXT NOT NULL, remaining INTEGER, turns INTEGER NOT NULL DEFAULT 0,
  hits INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, way TEXT NOT NULL, method TEXT NOT NULL,
  path TEXT NOT NULL, status INTEGER NOT NULL, note TEXT NOT NULL, ms REAL NOT NULL);
"""


class Store:
    """A pool of connections to one file, usable from any thread and after a fork; one writer at a time."""

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            folder = tempfile.mkdtemp(prefix="mail-sandbox-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder) / "mail.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        self._writing = threading.Lock()
        with self.write() as connection:
            connection.executescript(_SCHEMA)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection; each statement sees what is committed when it starts."""
        connection = self._take()
        try:
            yield connection
        finally:
            self._idle.append(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside one transaction: committed at the end, rolled back on an exception."""
        with self._writing, self.read() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            if connection.in_transaction:
                connection.execute("COMMIT")

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> sqlite3.Connection:
        if self._pid != os.getpid():  # a connection may not cross a fork
            self._idle, self._pid, self._writing = [], os.getpid(), threading.Lock()
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA busy_timeout = 60000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        return connection
