"""Sending switches (kill switch, throttle, stream stops, caps) and the guard against a copied database."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Invalid
from crm.messages.models import BreakerReset, PhiAttestation, SendingControl, StreamStop
from crm.staff import alerts

LONGEST_SILENCE = timedelta(hours=24)
MOST = 10_000_000  # emails a cap may allow
MOST_DOMAINS = 20  # mailbox providers with a cap of their own
# Which server and database we are in, whatever is written there. The timeline changes when a server was restored to
# a moment in the past or a standby took over: what left since then may be missing from the ledger.
_HERE = """
    select s.system_identifier || '/' || d.oid || '/' || c.timeline_id as here
    from pg_control_system() s, pg_control_checkpoint() c, pg_database d where d.datname = current_database()
"""
_SAME = "(instance is null or instance = here or here like instance || '/%')"  # older marks had no timeline
# The condition under which any mail may be sent: part of every claim, so that none precedes the first `heartbeat`.
OPEN = f"""
    exists (select 1 from sending_control, lateral ({_HERE}) place
        where stopped_at is null and (throttled_until is null or throttled_until <= :now) and {_SAME}
            and (alive_at is null or alive_at > :now - interval '{LONGEST_SILENCE.total_seconds():.0f} seconds'))
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
    """Resume sending. The sweep queues everything that is due."""
    db.session.execute(
        update(SendingControl).values(
            stopped_at=None,
            stopped_by=None,
            stop_reason=None,
            throttled_until=None,
            instance=_here(),
            alive_at=clock.now(),
        )
    )
    alerts.close("provider-key")
    alerts.close("copied-database")
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
            wrong[name] = [f"Use a whole number from 1 to {MOST:,}, or leave it empty."]
    if len(domains) > MOST_DOMAINS or any(
        not _DOMAIN.fullmatch(domain) or not 1 <= cap <= MOST for domain, cap in domains.items()
    ):
        wrong["domains"] = [f"Write one per line, such as “gmail.com 500”; at most {MOST_DOMAINS} lines."]
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
    """Stop one stream, until a named person resumes it."""
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
    """Mark that this installation is alive; stop all sending when the database looks like a copy of another.

    A clone carries the instance mark of its origin; a restored backup also an old heartbeat.
    """
    now, here, row = clock.now(), _here(), get()
    cloned = not db.session.scalar(text(f"select {_SAME} from sending_control, lateral ({_HERE}) place"))
    silent = guard_silence and row.alive_at is not None and now - row.alive_at > LONGEST_SILENCE
    if (cloned or silent) and row.stopped_at is None:
        stop(
            by="system",
            reason="This database was copied, restored or stopped for a long time. Check, then release.",
        )
        alerts.raise_alert(
            key="copied-database",
            level="danger",
            text="This database looks like a copy or a restored backup. Nothing is sent until a person releases it.",
            link="/console/mail",
        )
    elif not cloned and row.stopped_at is None:
        row.instance, row.alive_at = here, now


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


def _here() -> str:
    """Return the mark of this database: server, database and timeline, not its content."""
    return str(db.session.scalar(text(_HERE)))
