"""Translations: `.po` files are the source; missing or older `.mo` files are compiled from them."""

import os
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from crm.core.config import ROOT

FOLDER = ROOT / "crm" / "translations"


def compile_stale(folder: Path = FOLDER) -> list[Path]:
    """Compile every `.po` under `folder` that has changed since. Return the files written. Processes may race."""
    written = []
    for source in folder.glob("*/LC_MESSAGES/*.po"):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        draft = target.with_suffix(f".{os.getpid()}")
        with source.open("rb") as file:
            catalog = read_po(file, locale=source.parts[-3])
        with draft.open("wb") as out:
            write_mo(out, catalog)
        draft.replace(target)
        written.append(target)
    return written
