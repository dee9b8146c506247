"""Settings of the sandbox."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """Settings of one sandbox. Times are seconds, sizes are counts of events.

    `webhook_url` None means events are kept for the pages and told to nobody. `store_path` None keeps the
    mail in a folder that goes away with the process. `clock` gives the epoch seconds that mail, events and
    signatures are stamped with; a demo may pass a clock that can be moved.
    """

    api_key: str
    signing_key_path: Path
    webhook_url: str | None = None
    store_path: Path | None = None
    events: bool = True
    event_delay: float = 0.5
    wave_gap: float = 0.2
    max_events_per_post: int = 1000
    retry_first: float = 1.0
    retry_longest: float = 600.0
    give_up_after: float = 86_400.0
    webhook_timeout: float = 30.0
    clock: Callable[[], float] = time.time
