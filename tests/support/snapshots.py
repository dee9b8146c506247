"""Copies of a stopped PostgreSQL's data folder: saved, put back, started a second time."""

import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from crm.dev import local


def stop(folder: Path, mode: str = "fast") -> None:
    """Stop the embedded server of a folder: "fast" undoes what runs, "immediate" leaves the disk as a crash does."""
    server = local._postgres_servers[folder]
    subprocess.run(
        [server.bin_path / "pg_ctl", "-w", "-D", str(server.pgdata), "stop", "-m", mode],
        check=False,
        capture_output=True,
        user=server.system_user,
    )


def start(folder: Path) -> None:
    """Start it again, also while processes of one that was killed are still ending. Raises psycopg.OperationalError."""
    server = local._postgres_servers[folder]
    for _ in range(100):
        with suppress(subprocess.SubprocessError, AssertionError):
            server.ensure_postgres_running()
        try:
            psycopg.connect(server.get_uri()).close()
        except psycopg.OperationalError as error:
            refused = error
        else:
            return
        time.sleep(0.3)
    raise refused


def save(folder: Path, name: str) -> Path:
    """Copy the data of a stopped server; return where the copy is."""
    saved = folder / name
    subprocess.run(["cp", "-a", folder / "postgres", saved], check=True)
    return saved


def put_back(folder: Path, saved: Path, *, keep_as: str) -> Path:
    """Put a copy in the place of a stopped server's data; return where that data is now."""
    kept = folder / keep_as
    (folder / "postgres").rename(kept)
    saved.rename(folder / "postgres")
    return kept


def second_instance(folder: Path, saved: Path) -> str:
    """Start a second server from a copy, in a folder of its own; return its URL."""
    shutil.move(saved, folder / "postgres")
    return local.postgres_url(folder)
