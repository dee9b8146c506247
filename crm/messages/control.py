"""The switches: stop everything, slow down, stop one stream; and the mark that knows a copied database."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select, text, update

from crm import clock
from crm.audit import service as audit
from crm.db import db
from crm.messages.models import PhiAttestation, SendingControl, StreamStop
from crm.staff import alerts

LONGEST_SILENCE = timedelta(hours=24)


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
    """Let sending go on. The sweep asks again for everything that waits."""
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


def slow_down(*, until: datetime) -> None:
    """Nobody sends before `until`: the provider said so."""
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
    alerts.raise_alert(
        key=f"stream:{stream}",
        level="danger",
        text=f"The stream {stream} stopped itself: {reason}.",
        link="/console/mail",
    )


def resume_stream(stream: str) -> None:
    """Let a stopped stream go on."""
    db.session.execute(delete(StreamStop).where(StreamStop.stream == stream))
    alerts.close(f"stream:{stream}")
    audit.record("stream.resumed", detail={"stream": stream})


def beat(*, guard_silence: bool) -> None:
    """Mark that this installation is alive; hold everything when the database looks like a copy of another's.

    A clone carries the instance mark of where it came from; a restored backup also an old sign of life.
    """
    now, here, row = clock.now(), _here(), get()
    cloned = row.instance is not None and row.instance != here
    silent = guard_silence and row.alive_at is not None and now - row.alive_at > LONGEST_SILENCE
    if (cloned or silent) and row.stopped_at is None:
        stop(
            by="system", reason="This database was copied, restored or asleep for long. Check, then release."
        )
        alerts.raise_alert(
            key="copied-database",
            level="danger",
            text="This database looks like a copy or a restored backup. Nothing is sent until someone releases it.",
            link="/console/mail",
        )
    elif not cloned and row.stopped_at is None:
        row.instance, row.alive_at = here, now


def attest_phi(*, transport: str, wording: str, by: str, demo: bool = False) -> None:
    """Record that a named person takes responsibility for patient mail over a transport without a BAA."""
    db.session.add(PhiAttestation(transport=transport, wording=wording, by=by, at=clock.now(), demo=demo))
    audit.record("phi.attested", detail={"transport": transport})


def revoke_attestation(*, transport: str) -> None:
    """Take such a statement back."""
    db.session.execute(
        update(PhiAttestation)
        .where(PhiAttestation.transport == transport, PhiAttestation.revoked_at.is_(None))
        .values(revoked_at=clock.now())
    )
    audit.record("phi.attestation_revoked", detail={"transport": transport})


def _here() -> str:
    """A mark of the very database we are in: server and database, not its content."""
    return str(
        db.session.scalar(
            text("""
                select s.system_identifier || '/' || d.oid
                from pg_control_system() s, pg_database d where d.datname = current_database()
            """)
        )
    )
