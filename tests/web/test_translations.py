"""Translations: compiled while a release is built; a folder that cannot be written to is no fault then."""

import os

import pytest

from crm.core.config import ConfigError
from crm.web import translations

SOURCE = (
    'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\nmsgid "Send"\nmsgstr "Enviar"\n'
)


@pytest.fixture
def folder(tmp_path):
    where = tmp_path / "es" / "LC_MESSAGES"
    where.mkdir(parents=True)
    (where / "messages.po").write_text(SOURCE)
    return tmp_path


@pytest.fixture
def read_only(monkeypatch):
    def refuse(source, target):
        raise PermissionError

    monkeypatch.setattr(translations, "_compile", refuse)


def test_compiles_once(folder):
    assert [path.name for path in translations.compile_stale(folder)] == ["messages.mo"]
    assert translations.compile_stale(folder) == []


def test_missing_file_in_read_only_folder_is_named(folder, read_only):
    with pytest.raises(ConfigError, match="not compiled"):
        translations.compile_stale(folder)


def test_older_file_in_read_only_folder_is_used(folder, request):
    (target,) = translations.compile_stale(folder)
    source = target.with_suffix(".po")
    newer = target.stat().st_mtime + 60
    os.utime(source, (newer, newer))
    request.getfixturevalue("read_only")
    assert translations.compile_stale(folder) == []
