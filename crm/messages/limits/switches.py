"""Sending switches: kill switch, throttle, stream stops, caps."""

import re
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Invalid
from crm.messages.limits import copy_guard
from crm.messages.limits.copy_rules import LONGEST_SILENCE
from crm.messages.models import BreakerReset, PhiAttestation, SendingControl, StreamStop
from crm.messages.rules import STREAMS
from crm.staff import alerts

COPIED = "copied-database"  # the key of the alert about a copy
MOST = 10_000_000  # emails a cap may allow
MOST_DOMAINS = 20  # mailbox providers with a cap of their own
# The condition under which a batch `b` may be sent: part of every claim, so that none precedes the first `heartbeat`.
# Alert emails to staff pass the kill switch, not the throttle and not the copy guard.
OPEN = f"""
    exists (select 1 from sending_control
        where (stopped_at is null or b.passes_stop) and (throttled_until is null or throttled_until <= :now)
            and (alive_at is null or alive_at > :now - interval '{LONGEST_SILENCE.total_seconds():.0f} seconds'))
    and {copy_guard.UNCHANGED}
"""
_DOMAIN = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


def get() -> SendingControl:
    """Return the one control row."""
    return db.session.scalars(select(SendingControl)).one()


def stop(*, by: str, reason: str) -> None:
    """Stop all sending at once; queued batches stay where they are. A second stop changes nothing."""
    db.session.execute(
        update(SendingControl)
        .where(SendingControl.stopped_at.is_(None))
        .values(stopped_at=clock.now(), stopped_by=by, stop_reason=reason)
    )
    audit.record("sending.stopped", detail={"reason": reason})


def release(*, by: str) -> None:
    """Resume sending; the sweep queues everything that is due. A pause that the provider asked for goes on to its end.

    The database is marked anew. While it looks like a copy, that is so only once the alert has told staff.
    """
    db.session.execute(update(SendingControl).values(stopped_at=None, stopped_by=None, stop_reason=None))
    if alerts.open_text(COPIED) is not None or copy_guard.difference() is None:
        copy_guard.accept()
        alerts.close(COPIED)
    alerts.close("provider-key")
    audit.record("sending.released", detail={"by": by})


def set_pace(
    *,
    per_minute: int | None,
    per_day: int | None,
    ramp_from: datetime | None,
    domains: Mapping[str, int],
) -> None:
    """Set the caps from the next batch on, see `pacing.Caps`; None is no cap. Raises Invalid."""
    wrong: dict[str, list[str]] = {}
    for name, cap in (("per_minute", per_minute), ("per_day", per_day)):
        if cap is not None and not 1 <= cap <= MOST:
            wrong[name] = [f"Enter a whole number from 1 to {MOST:,}, or leave it empty."]
    if len(domains) > MOST_DOMAINS or any(
        not _DOMAIN.fullmatch(domain) or not 1 <= cap <= MOST for domain, cap in domains.items()
    ):
        wrong["domains"] = [f"Enter one per line, such as “gmail.com 500”; at most {MOST_DOMAINS} lines."]
    if wrong:
        raise Invalid(wrong)
    values = {
        "per_minute": per_minute,
        "per_day": per_day,
        "ramp_from": ramp_from,
        "domain_caps": dict(domains),
    }
    db.session.execute(update(SendingControl).values(**values))
    audit.record(
        "sending.pace",
        detail={**values, "ramp_from": ramp_from.isoformat() if ramp_from else None},
    )


def throttle(*, until: datetime) -> None:
    """Hold all mail until `until`, as the provider asked."""
    db.session.execute(
        text("update sending_control set throttled_until = greatest(throttled_until, :until)"),
        {"until": until},
    )


def stop_stream(stream: str, *, reason: str) -> None:
    """Stop one marketing stream, until a named person resumes it. Raises ValueError for a transactional one."""
    if STREAMS[stream].transactional:
        raise ValueError(f"The stream {stream} is transactional and cannot be stopped alone.")
    db.session.execute(
        text(
            "insert into stream_stop (stream, reason, at) values (:stream, :reason, :now) on conflict do nothing"
        ),
        {"stream": stream, "reason": reason, "now": clock.now()},
    )
    audit.record("stream.stopped", detail={"stream": stream, "reason": reason})
    alerts.raise_alert(
        key=f"stream:{stream}",
        level="danger",
        text=f"The stream {stream} was stopped automatically: {reason}.",
        link="/console/mail",
    )


def release_transactional_streams() -> None:
    """Remove stops of transactional streams: older releases stopped these too."""
    names = [stream.name for stream in STREAMS.values() if stream.transactional]
    stopped = delete(StreamStop).where(StreamStop.stream.in_(names)).returning(StreamStop.stream)
    for stream in db.session.scalars(stopped).all():
        alerts.close(f"stream:{stream}")
        audit.record("stream.resumed", detail={"stream": stream})


def resume_stream(stream: str) -> None:
    """Resume a stopped stream and reset its circuit breaker."""
    db.session.execute(delete(StreamStop).where(StreamStop.stream == stream))
    reset_breaker(f"stream:{stream}")
    alerts.close(f"stream:{stream}")
    audit.record("stream.resumed", detail={"stream": stream})


def reset_breaker(scope: str) -> None:
    """Count bounces and complaints of a stream or campaign from now on only: a person reset its breaker."""
    row = {"at": clock.now(), "by": audit.current().actor}
    db.session.execute(
        insert(BreakerReset)
        .values(scope=scope, **row)
        .on_conflict_do_update(index_elements=["scope"], set_=row)
    )


def heartbeat(*, guard_silence: bool) -> None:
    """Mark that this installation is alive; stop all sending when the database is a copy, or older than its mail."""
    reason = copy_guard.check(now=clock.now(), guard_silence=guard_silence)
    if reason is None:
        return
    if get().stopped_at is None:
        stop(by="system", reason=f"{reason} Check, then release.")
    alerts.raise_alert(
        key=COPIED,
        level="danger",
        text=f"{reason} Nothing is sent until a person releases sending.",
        link="/console/mail",
    )


def attest_phi(*, transport: str, wording: str, by: str, demo: bool = False) -> None:
    """Record that a named person takes responsibility for patient mail over a transport without a BAA."""
    db.session.add(PhiAttestation(transport=transport, wording=wording, by=by, at=clock.now(), demo=demo))
    audit.record("phi.attested", detail={"transport": transport})


def revoke_attestation(*, transport: str) -> bool:
    """Revoke the attestations of a transport; return whether there was one."""
    revoked = db.session.scalars(
        update(PhiAttestation)
        .where(PhiAttestation.transport == transport, PhiAttestation.revoked_at.is_(None))
        .values(revoked_at=clock.now())
        .returning(PhiAttestation.id)
    ).all()
    if revoked:
        audit.record("phi.attestation_revoked", detail={"transport": transport})
    return bool(revoked)
