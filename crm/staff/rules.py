"""Password strength, sign-in throttling, the site of passkeys, and when alert emails are due."""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

SHORTEST, LONGEST = 12, 128  # characters; NIST SP 800-63B-4 asks for 15 where a password stands alone

FEWEST_GUESSES = 10**10  # zxcvbn's line to "very unguessable", offline attacks on slow hashes included
_JUDGED = 48  # characters; more cost seconds and only add guesses
FAMOUS = frozenset({"correcthorsebatterystaple", "thequickbrownfox", "ilovemydaughter", "tobeornottobe"})

URGENT_GAP = timedelta(minutes=15)  # between two emails about urgent alerts
DIGEST_AFTER = timedelta(hours=1)  # other alerts wait this long: most are closed by then
DIGEST_GAP = timedelta(hours=4)  # between any email and a digest of the others

FREE_TRIES = 10  # of one account from one network address
FREE_TRIES_ANYWHERE = 50  # of one account from all addresses together
TRIES_PER_MINUTE = 30  # of one network address, whatever the account
HALF_TRIES = 5  # codes after one right password, or after one link
_FIRST_WAIT, _LONGEST_WAIT = 30, 15 * 60  # seconds

_COMMON = """
    password passwort contrasena passw pass admin administrator root welcome bienvenido letmein iloveyou teamo
    monkey dragon football baseball sunshine princess superman batman master shadow michael jordan trustno
    whatever starwars freedom secret changeme default login user guest test summer winter spring autumn fall
    january february march april may june july august september october november december monday friday
    clinic doctor nurse patient hospital health medical ketamine wellness pain care office reception
"""
COMMON = frozenset(_COMMON.split())
_ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
)


def password_refused(password: str, *, about: Iterable[str] = ()) -> str | None:
    """Return why a new password is refused; None if it is fine. `about`: names and addresses of its owner.

    Length and easy guesses count, not a mix of kinds of characters (NIST SP 800-63B-4, section 3.1.1.2).
    """
    if len(password) < SHORTEST:
        return f"Use at least {SHORTEST} characters; a few words in a row are easy to remember."
    if len(password) > LONGEST:
        return f"Use at most {LONGEST} characters."
    own = _own_words(about)
    core = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", password)
    if len(set(password)) < 5 or any(
        _left(text, own) < 5 for text in (_letters(password), _letters(core, swap=True))
    ):
        return "This is easy to guess. Use words that have nothing to do with you or your work."
    if _letters(password) in FAMOUS or _guesses(password, own) < FEWEST_GUESSES:
        return (
            "This is a common password, or close to one that was stolen elsewhere. Use a few unrelated words."
        )
    return None


def _guesses(password: str, own: set[str]) -> float:
    """Return how many guesses an attacker needs who tries the passwords of known breaches, names and words first.

    The lists are those of zxcvbn: 30,000 passwords of breaches, 40,000 words, names and surnames (USENIX Security 2016).
    """
    from zxcvbn import zxcvbn  # noqa: PLC0415 - its lists cost half a second, and only a new password needs them

    return float(zxcvbn(password[:_JUDGED], user_inputs=sorted(own), max_length=_JUDGED)["guesses"])


def _letters(text: str, *, swap: bool = False) -> str:
    """Return the letters in lower case without accents and signs; `swap` also undoes 0 for o and the like."""
    text = unicodedata.normalize("NFKD", text.lower())
    if swap:
        text = text.translate(str.maketrans("@0134$57!|", "aoleasstil"))
    return "".join(character for character in text if character.isalnum())


def _own_words(about: Iterable[str]) -> set[str]:
    return {_letters(word) for text in about for word in re.split(r"\W+", text) if len(word) >= 3}


def _left(text: str, own: set[str]) -> int:
    """Return how many characters remain without the words and runs that attackers try first."""
    for word in sorted(COMMON | own, key=len, reverse=True):
        text = text.replace(word, "")
    return len(_without_runs(text))


def _without_runs(text: str) -> str:
    """Remove keyboard rows, runs of the alphabet and repeats."""
    text = re.sub(r"(.{1,4})\1+", r"\1", text)
    for row in (*_ROWS, *(row[::-1] for row in _ROWS)):
        for size in range(min(len(row), len(text)), 3, -1):
            for start in range(len(row) - size + 1):
                text = text.replace(row[start : start + size], "")
    return text


def wait_after(failures: int, *, free: int = FREE_TRIES) -> int:
    """Return the seconds to wait after so many failures in a row: 0 at first, then doubling, never a lock."""
    if failures < free:
        return 0
    return int(min(_FIRST_WAIT * 2 ** min(failures - free, 10), _LONGEST_WAIT))


def last_admin(admins: Sequence[int], *, leaving: int) -> bool:
    """Tell whether the account that leaves is the last administrator."""
    return list(admins) == [leaving]


def alert_email_due(
    *, now: datetime, last: datetime | None, urgent_since: datetime | None, others_since: datetime | None
) -> bool:
    """Tell whether to email staff about open alerts now: urgent ones soon, the others as a digest.

    `urgent_since` and `others_since` say since when the oldest unreported alert of each sort waits.
    """
    since_last = now - last if last is not None else DIGEST_GAP
    if urgent_since is not None and since_last >= URGENT_GAP:
        return True
    gathered = others_since is not None and now - others_since >= DIGEST_AFTER
    return gathered and since_last >= DIGEST_GAP


@dataclass(frozen=True, kw_only=True)
class Site:
    """What passkeys are bound to: the host's name, and the origin (scheme, host, port) browsers report."""

    name: str
    origin: str


def passkey_site(public_url: str) -> Site | None:
    """Return the site that passkeys of an installation are bound to; None if there can be none.

    They need a host with a name, not a number, and HTTPS unless the name is localhost
    (W3C, "Web Authentication: Level 2", sections 5.1.3 and 13.4.9; "Secure Contexts", section 3.1).

    >>> passkey_site("http://localhost:8000")
    Site(name='localhost', origin='http://localhost:8000')
    >>> passkey_site("http://127.0.0.1:8000") is None
    True
    """
    parts = urlsplit(public_url)
    name = parts.hostname or ""
    if not name or _is_number(name) or (parts.scheme != "https" and name != "localhost"):
        return None
    usual = {"https": 443, "http": 80}[parts.scheme]
    port = f":{parts.port}" if parts.port not in (None, usual) else ""
    return Site(name=name, origin=f"{parts.scheme}://{name}{port}")


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
