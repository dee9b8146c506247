"""Password strength, sign-in throttling, and when alert emails are due."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

SHORTEST, LONGEST = 12, 128  # characters; NIST SP 800-63B-4 asks for 15 where a password stands alone

URGENT_GAP = timedelta(minutes=15)  # between two emails about urgent alerts
DIGEST_AFTER = timedelta(hours=1)  # other alerts wait this long: most are closed by then
DIGEST_GAP = timedelta(hours=4)  # between any email and a digest of the others

FREE_TRIES = 10  # of one account from one network address
FREE_TRIES_ANYWHERE = 50  # of one account from all addresses together
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
    return None


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
