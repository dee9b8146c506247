"""Gunicorn settings. Read by gunicorn itself: `gunicorn wsgi:app --config crm/web/gunicorn.py`."""

import gc
import os
from typing import Any

from sqlalchemy.orm import configure_mappers

bind = f"{os.environ.get('BIND', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "4"))
worker_class = "crm.web.server.Worker"
timeout = 60
graceful_timeout = 20
max_requests = 20_000  # then the process is replaced
max_requests_jitter = 2_000
limit_request_line = 4094
accesslog = None  # the app logs requests itself, without query strings and tokens
errorlog = "-"
loglevel = "warning"
# The master imports the app and forks, so that the processes share its memory. It opens no connection. A HUP then
# replaces the processes but not their code, which is why `make dev` turns it off.
preload_app = os.environ.get("WEB_PRELOAD", "1") != "0"


def when_ready(_server: Any) -> None:
    """Prepare what every process needs, and take it out of collections, which would copy the shared pages."""
    if preload_app:
        configure_mappers()
        gc.collect()
        gc.freeze()
