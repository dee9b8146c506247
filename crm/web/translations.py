"""Translations: `.po` files are the source; missing or older `.mo` files are compiled from them.

`python -m crm.web.translations` compiles them while an image or a release is built, so that the service needs no right
to write its own code.
"""

import os
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from crm.core.config import ROOT, ConfigError

FOLDER = ROOT / "crm" / "translations"


def compile_stale(folder: Path = FOLDER) -> list[Path]:
    """Compile every `.po` under `folder` that has changed since. Return the files written. Processes may race.

    Where the folder cannot be written to, files that an image brought are used as they are. Raises ConfigError when
    one is missing there.
    """
    written = []
    for source in folder.glob("*/LC_MESSAGES/*.po"):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        try:
            _compile(source, target)
        except OSError as error:
            if target.exists():
                continue
            raise ConfigError(
                f"The translations are not compiled, and {target.parent} cannot be written to. "
                "Run `python -m crm.web.translations` when you build the release."
            ) from error
        written.append(target)
    return written


def _compile(source: Path, target: Path) -> None:
    draft = target.with_suffix(f".{os.getpid()}")
    with source.open("rb") as file:
        catalog = read_po(file, locale=source.parts[-3])
    with draft.open("wb") as out:
        write_mo(out, catalog)
    draft.replace(target)


if __name__ == "__main__":
    compile_stale()
