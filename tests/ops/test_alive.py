"""Liveness of one process: by its own answer, or by its record in Redis."""

from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from crm.core import queue
from crm.ops import alive
from jobs.schedule import Scheduler


@pytest.fixture
def check(app, redis):
    pool = redis.connection_pool.connection_kwargs
    url = f"unix://{pool['path']}?db={pool['db']}" if "path" in pool else (
        f"redis://{pool['host']}:{pool['port']}/{pool['db']}"
    )  # fmt: skip
    settings = replace(app.settings, redis_url=url)
    return lambda process, host="box": alive.is_alive(process, settings=settings, host=host)


def test_worker(check, redis, database):
    assert not check("worker")
    worker = SimpleWorker([queue.queue("bulk")], connection=redis, serializer=JSONSerializer, name="box-1-2")
    worker.register_birth()
    assert check("worker")
    assert not check("worker", host="other")
    redis.delete(worker.key)  # expired
    assert not check("worker")


def test_scheduler(check, redis):
    assert not check("scheduler")
    scheduler = Scheduler(redis, logging_level="WARNING")
    scheduler.register_birth()
    assert check("scheduler", host=scheduler.hostname)
    assert not check("scheduler", host="other")


class _Alive(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, *_):
        """Print nothing."""


def test_web(app):
    server = HTTPServer(("127.0.0.1", 0), _Alive)
    settings = replace(app.settings, port=server.server_port)
    thread = Thread(target=server.serve_forever)
    thread.start()
    assert alive.is_alive("web", settings=settings, host="box")
    server.shutdown()
    thread.join()
    server.server_close()
    assert not alive.is_alive("web", settings=settings, host="box")


def test_usage():
    assert alive.main(["mail"]) == 2
