"""Where backups are kept: a folder, a bucket of an S3-compatible store (the package `minio`, requirements-s3.txt), or both."""

import contextlib
import importlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from crm.core.config import Settings

PATTERN = "clinic-*.backup"


class TargetFailed(Exception):
    """A target could not be read or written; the text says why."""


class Target(Protocol):
    """One place of backups. Names sort by time. Each method raises TargetFailed."""

    def put(self, file: Path, name: str) -> str:
        """Keep a file under a name; return where it is. The file may be moved."""

    def names(self) -> list[str]:
        """Return the names of all backups, oldest first."""

    def remove(self, name: str) -> None:
        """Delete a backup."""

    def local(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """Give the path of a backup on this machine, for the block."""


class Folder:
    """A folder, mounted from another machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, file: Path, name: str) -> str:
        return str(file.rename(self.path / name))

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.glob(PATTERN))

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        yield self.path / name


class Bucket:
    """A bucket: https://<key id>:<secret>@<host>/<bucket>/<prefix>?region=<region>."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._bucket, _, prefix = parts.path.strip("/").partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        try:
            minio: Any = importlib.import_module("minio")
        except ModuleNotFoundError as error:
            raise TargetFailed(
                "BACKUP_S3_URL needs a package: pip install --require-hashes -r requirements-s3.txt"
            ) from error
        self._client = minio.Minio(
            f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname),
            access_key=unquote(parts.username or ""),
            secret_key=unquote(parts.password or ""),
            secure=parts.scheme == "https",
            region=parse_qs(parts.query).get("region", ["us-east-1"])[0],
        )

    def put(self, file: Path, name: str) -> str:
        with _failures():
            self._client.fput_object(
                bucket_name=self._bucket, object_name=self._prefix + name, file_path=str(file)
            )
        return f"s3://{self._bucket}/{self._prefix}{name}"

    def names(self) -> list[str]:
        with _failures():
            found = list(self._client.list_objects(bucket_name=self._bucket, prefix=f"{self._prefix}clinic-"))
        names = (str(one.object_name).removeprefix(self._prefix) for one in found)
        return sorted(name for name in names if Path(name).match(PATTERN))

    def remove(self, name: str) -> None:
        with _failures():
            self._client.remove_object(bucket_name=self._bucket, object_name=self._prefix + name)

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            with _failures():
                self._client.fget_object(
                    bucket_name=self._bucket, object_name=self._prefix + name, file_path=str(path)
                )
            yield path


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Turn every error of the package and of the network into TargetFailed, without keys."""
    try:
        yield
    except Exception as error:
        code = getattr(error, "code", None)
        raise TargetFailed(f"The S3 store failed: {code or type(error).__name__}.") from error


def of(settings: Settings) -> list[Target]:
    """Return the targets of an installation, the folder last. Raises TargetFailed without the package of S3."""
    bucket = [Bucket(settings.backup_s3_url)] if settings.backup_s3_url else []
    folder = [Folder(settings.backup_folder)] if settings.backup_folder else []
    return [*bucket, *folder]
