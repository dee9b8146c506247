"""Gunicorn settings. Read by gunicorn itself: `gunicorn wsgi:app --config crm/web/gunicorn.py`."""

import os

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
