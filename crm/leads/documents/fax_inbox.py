"""The fax inbox: a folder that a fax service fills. Each file is stored encrypted, then deleted from the folder."""

from collections.abc import Sequence
from pathlib import Path

from crm.core import clock
from crm.core.db import transaction
from crm.core.errors import Invalid
from crm.core.file_types import MOST_BYTES
from crm.leads.documents import service
from crm.staff import alerts

SLICE = 20
SETTLED = 10  # seconds since the last change: the fax service is done with it
REFUSED = "refused"  # the folder, inside, of files that are no faxes


def collect(folder: Path | None) -> int:
    """Take in the files of the folder, the oldest first; return how many. A file is deleted once it is committed.

    After a crash between the two, the file is found again, and known.
    """
    taken = 0
    for path in _waiting(folder) if folder is not None else ():
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        try:
            with transaction():
                taken += service.take_fax(name=path.name, content=content)
        except Invalid:
            _refuse(path)
            continue
        path.unlink()
    return taken


def _waiting(folder: Path) -> Sequence[Path]:
    if not folder.is_dir():
        with transaction():
            alerts.raise_alert(
                key="no-fax-folder", level="warning", text="The folder of the fax inbox cannot be read."
            )
        return ()
    now = clock.now().timestamp()
    files = [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    settled = [path for path in files if now - path.stat().st_mtime >= SETTLED]
    return sorted(settled, key=lambda path: (path.stat().st_mtime, path.name))[:SLICE]


def _refuse(path: Path) -> None:
    """Put a file aside that is no PDF, JPEG or PNG file."""
    aside = path.parent / REFUSED
    aside.mkdir(exist_ok=True)
    path.rename(aside / path.name)
    with transaction():
        alerts.raise_alert(
            key="fax-refused",
            level="warning",
            text="A file in the fax folder is no PDF, JPEG or PNG file of up to 10 MB. It was put into “refused”.",
        )
