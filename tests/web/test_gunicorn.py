"""The web server's master: what it does before it forks."""

import gc
import importlib

import pytest

from crm.web import gunicorn


@pytest.mark.parametrize(("set_to", "shared"), [(None, True), ("1", True), ("0", False)])
def test_what_was_imported_is_shared_unless_turned_off(monkeypatch, set_to, shared):
    monkeypatch.delenv("WEB_PRELOAD", raising=False)
    if set_to:
        monkeypatch.setenv("WEB_PRELOAD", set_to)
    settings = importlib.reload(gunicorn)
    try:
        settings.when_ready(None)
        assert settings.preload_app is shared
        assert (gc.get_freeze_count() > 0) is shared
    finally:
        gc.unfreeze()
