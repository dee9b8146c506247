"""Slowing down guesses at secrets: tries are counted in PostgreSQL, so the count holds while Redis is unreachable.

A try is charged before the secret is compared, in a transaction of its own: parallel guesses cannot outrun the count.
A right secret gives the charge back. There is no lock: the wait grows to a quarter of an hour and no further, other
networks are not held up before there are many more failures, and a sign-in link by email works at any time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, text, update

from crm.core import clock, crypto
from crm.core.db import db
from crm.staff import rules
from crm.staff.models import SecretTry

FORGET = timedelta(hours=24)  # without a try, after which an account's count starts again
WINDOW = timedelta(minutes=1)  # in which the tries of one network address are counted


@dataclass(frozen=True, kw_only=True)
class Scope:
    """One count. `rolling`: it is forgotten so long after the last try, not after the first. `final`: it never ends."""

    key: bytes
    free: int
    forget: timedelta
    rolling: bool = True
    final: bool = False


@dataclass(frozen=True, kw_only=True)
class Charged:
    """The outcome of a charge: the seconds to wait (0: go on), and whether this try used up what an account may miss."""

    wait: int = 0
    last_free: bool = False
    flood: bool = False  # from one network address
    half_over: bool = False  # the half sign-in has no tries left


_CHARGE = text("""
    insert into secret_try as t (key, count, forget_at) values (:key, 1, :forget_at)
    on conflict (key) do update set
        count = case when t.forget_at <= :now then 1 else t.count + 1 end,
        forget_at = case when t.forget_at <= :now or :rolling then :forget_at else t.forget_at end,
        wait_until = null
    where t.wait_until is null or t.wait_until <= :now
    returning count as tries, forget_at
""")


def charge(*, kind: str, account: str | None, address: str, half: str | None = None) -> Charged:
    """Count one try at a secret; the outcome says whether it may go on.

    `kind`: what is guessed, each counted for itself. `half`: the half sign-in that the try belongs to, which allows
    only `rules.HALF_TRIES`.
    """
    now = clock.real_now()
    scopes = {"address": _address(address), **_accounts(kind, account, address)}
    if half is not None:
        scopes["half"] = _half(half)
    counts = {}
    for name, scope in sorted(scopes.items(), key=lambda item: item[1].key):  # one order: no deadlock
        count, wait = _charge(scope, now)
        if wait:
            return Charged(wait=wait, half_over=name == "half")
        counts[name] = count
    return Charged(
        last_free=any(counts[name] == scopes[name].free for name in counts.keys() & {"here", "anywhere"}),
        flood=counts["address"] == scopes["address"].free,
        half_over=counts.get("half") == rules.HALF_TRIES,
    )


def _charge(scope: Scope, now: datetime) -> tuple[int, int]:
    """Return the count of a scope after this try, and the seconds to wait instead of it."""
    given = {"key": scope.key, "forget_at": now + scope.forget, "now": now, "rolling": scope.rolling}
    row = db.session.execute(_CHARGE, given).first()
    if row is None:
        until = db.session.get_one(SecretTry, scope.key, populate_existing=True).wait_until or now
        return 0, max(1, int((until - now).total_seconds()) + 1)
    waits = _wait_until(scope, row.tries, now=now, forget_at=row.forget_at)
    if waits is not None:
        db.session.execute(update(SecretTry).where(SecretTry.key == scope.key).values(wait_until=waits))
    return int(row.tries), 0


def _wait_until(scope: Scope, count: int, *, now: datetime, forget_at: datetime) -> datetime | None:
    if count < scope.free:
        return None
    if scope.final or not scope.rolling:
        return forget_at
    return now + timedelta(seconds=rules.wait_after(count, free=scope.free))


def succeeded(*, kind: str, account: str | None, address: str, half: str | None = None) -> None:
    """Forget the tries of this account, and give the charge back to the network address."""
    gone = [scope.key for scope in _accounts(kind, account, address).values()]
    if half is not None:
        gone.append(_half(half).key)
    db.session.execute(delete(SecretTry).where(SecretTry.key.in_(gone)))
    back = update(SecretTry).where(SecretTry.key == _address(address).key, SecretTry.count > 0)
    db.session.execute(back.values(count=SecretTry.count - 1, wait_until=None))


def _accounts(kind: str, account: str | None, address: str) -> dict[str, Scope]:
    if account is None:
        return {}
    who = f"{kind}\0{account.strip().lower()}"
    return {
        "here": Scope(key=_key(f"{who}\0{address}"), free=rules.FREE_TRIES, forget=FORGET),
        "anywhere": Scope(key=_key(who), free=rules.FREE_TRIES_ANYWHERE, forget=FORGET),
    }


def _address(address: str) -> Scope:
    return Scope(key=_key(f"\0{address}"), free=rules.TRIES_PER_MINUTE, forget=WINDOW, rolling=False)


def _half(half: str) -> Scope:
    return Scope(key=_key(f"half\0{half}"), free=rules.HALF_TRIES, forget=FORGET, rolling=False, final=True)


def _key(text: str) -> bytes:
    return crypto.blind_index("sign-in", text)[:16]
