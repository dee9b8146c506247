"""Seals of the audit log outside the database: the newest link, with a code, in a file, in Redis, in the log, in email.

The owner of the database can empty the log or write another one. A seal that was kept elsewhere names a link which such
a log cannot contain.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog
from redis import Redis
from redis.exceptions import RedisError

from crm.audit import service
from crm.audit.chain import Finding, FindingKind
from crm.core import clock, current

log = structlog.get_logger()

REDIS_KEY = "audit:seal"
MOST_READ = 10_000  # seals of a file that are checked, newest first: more than a year


@dataclass(frozen=True, kw_only=True)
class Seal:
    """Number and hash (hex) of the newest link at one time. `code` is an HMAC with AUDIT_KEYS."""

    at: str
    number: int
    hash: str
    code: str

    @property
    def line(self) -> str:
        """The seal as one line of text, of characters that no email or log changes."""
        return f"{self.at} {self.number} {self.hash} {self.code}"


def _message(at: str, number: int, hash_: str) -> bytes:
    return f"seal\0{at}\0{number}\0{hash_}".encode()


def make() -> Seal | None:
    """Return the seal of now; None while the chain is empty."""
    head = service.head()
    if head is None:
        return None
    at = clock.now().isoformat(timespec="seconds")
    code = current.services().audit_keys.sign(_message(at, *head))
    return Seal(at=at, number=head[0], hash=head[1], code=code.hex())


def keep(seal: Seal) -> bool:
    """Write a seal to the log, the file and Redis; return whether the file or Redis took it."""
    log.info("audit.head", seal=seal.line)
    return any(
        [_to_file(seal, current.settings().audit_seal_file), _to_redis(seal, current.services().redis)]
    )


def _to_file(seal: Seal, path: Path) -> bool:
    try:
        with path.open("a") as file:
            file.write(f"{seal.line}\n")
    except OSError as error:
        log.warning("audit.seal_file", error=type(error).__name__)
        return False
    return True


def _to_redis(seal: Seal, redis: Redis) -> bool:
    try:
        redis.set(REDIS_KEY, seal.line)
    except RedisError as error:
        log.warning("audit.seal_redis", error=type(error).__name__)
        return False
    return True


def kept() -> list[str]:
    """Return the seals of the file and of Redis, as text."""
    lines: list[str] = []
    try:
        lines += current.settings().audit_seal_file.read_text().splitlines()[-MOST_READ:]
    except OSError:
        log.info("audit.no_seal_file")
    try:
        found = current.services().redis.get(REDIS_KEY)
        lines += [found.decode()] if isinstance(found, bytes) else []
    except RedisError:
        log.info("audit.no_seal_redis")
    return lines


def parse(line: str) -> Seal | None:
    """Return the seal that a line holds, if this service made it; None for any other text."""
    match line.split():
        case [at, number, hash_, code] if number.isdecimal():
            seal = Seal(at=at, number=int(number), hash=hash_, code=code)
            made = current.services().audit_keys.signatures(_message(at, seal.number, hash_))
            return seal if code in [one.hex() for one in made] else None
    return None


def verify(outside: Iterable[str] = ()) -> list[Finding]:
    """Verify the log against itself, the seals that are kept, and those of `outside`."""
    lines = [*kept(), *outside]
    seals = [seal for line in lines if (seal := parse(line))]
    findings = service.verify(expected={(seal.number, seal.hash) for seal in seals})
    if len(seals) < len(lines):
        text = f"{len(lines) - len(seals)} seals were not made with the key of this service."
        findings.append(Finding(kind=FindingKind.FORGED, entry_id=None, text=text))
    if not lines and service.is_old():
        text = "No seal of the log is kept outside the database: the file and Redis have none."
        findings.append(Finding(kind=FindingKind.CUT, entry_id=None, text=text))
    return findings
