"""Circuit breakers: a marketing stream or campaign with too many bounces or complaints stops until a named person
resumes it. Transactional mail (confirmations, appointments, alerts) never stops by itself: a few complaints, which any
visitor can cause, would close it for everyone. It raises an alert with the rates and goes on.

Sent mail is added up from batches; bounces and complaints come from an index that holds nothing else, so the cost
does not grow with the mail sent.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Row, TextClause, text

from crm.core import clock
from crm.core.db import db
from crm.messages import rules
from crm.messages.limits import switches
from crm.staff import alerts

SPAN = timedelta(days=7)
WAIT = timedelta(days=7)  # the longest that a batch may have waited before it was sent

# {scope} is an expression over a batch `b`, {among} a condition on it. Mail from before a reset does not count.
_RATES = """
    with sent as (
        select {scope} as scope, b.id, b.size - b.left_out as emails
        from batch b left join breaker_reset r on r.scope = {kind} || {scope}
        where b.state = 'accepted' and b.created_at > :before and b.state_at > greatest(cast(:since as timestamptz), r.at)
            and {among}
    ), grave as (
        select sent.scope, count(distinct m.id) filter (where e.kind = 'bounced') as bounced,
            count(distinct m.id) filter (where e.kind = 'complained') as complained
        from provider_event e join message m on m.id = e.message_id join sent on sent.id = m.batch_id
        where e.kind in ('bounced','complained') and e.received_at > :since
        group by sent.scope
    )
    select scope, sum(emails) as accepted, coalesce(max(bounced), 0) as bounced, coalesce(max(complained), 0) as complained
    from sent left join grave using (scope) group by scope order by scope
"""
_OF_STREAMS = text(_RATES.format(scope="b.stream", kind="'stream:'", among="true"))
_OF_CAMPAIGNS = text(
    _RATES.format(scope="b.campaign_id", kind="'campaign:'", among="b.campaign_id = any(:campaigns)")
)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The outcomes of a stream's or campaign's mail in the last seven days."""

    scope: str
    accepted: int
    bounced: int
    complained: int

    @property
    def verdict(self) -> str | None:
        """The reason to stop; None while the rates are fine."""
        return rules.breaker(accepted=self.accepted, bounced=self.bounced, complained=self.complained)


def stream_rates() -> list[Rates]:
    """Return the rates of every stream that sent anything."""
    return [_rates(row) for row in _rows(_OF_STREAMS)]


def campaign_rates(campaign_ids: Collection[int]) -> list[Rates]:
    """Return the rates of these campaigns; `scope` is the campaign's id as text."""
    return [_rates(row) for row in _rows(_OF_CAMPAIGNS, campaigns=list(campaign_ids))] if campaign_ids else []


def trip_streams() -> list[str]:
    """Stop each marketing stream above a limit, raise an alert about the others; return the names of the stopped ones."""
    switches.release_transactional_streams()
    tripped = []
    found = {rates.scope: rates for rates in stream_rates()}
    for stream in rules.STREAMS.values():
        if stream.transactional:
            rates = found.pop(stream.name, None)
            _alert_transactional(stream.name, rates.verdict if rates is not None else None)
    for rates in found.values():
        reason = rates.verdict
        if reason is not None:
            switches.stop_stream(rates.scope, reason=reason)
            tripped.append(rates.scope)
        elif rules.near_limit(accepted=rates.accepted, complained=rates.complained):
            alerts.raise_alert(
                key=f"stream-near:{rates.scope}",
                level="warning",
                text=f"Complaints about the stream {rates.scope} are close to its automatic stop limit.",
                link="/console/mail",
            )
    return tripped


def _alert_transactional(stream: str, reason: str | None) -> None:
    """Raise an alert about a transactional stream above a limit; close it when the rates are fine again."""
    key = f"stream-rates:{stream}"
    if reason is None:
        alerts.close(key)
        return
    alerts.raise_alert(
        key=key,
        level="danger",
        text=f"The stream {stream} is above a limit: {reason}. It goes on, because confirmations and alerts need it. "
        "Check its addresses.",
        link="/console/mail",
        remind_after=timedelta(days=1),
    )


def _rows(statement: TextClause, **given: object) -> list[Row[tuple[object, ...]]]:
    since = clock.now() - SPAN
    return list(db.session.execute(statement, {"since": since, "before": since - WAIT, **given}))


def _rates(row: Row[tuple[object, ...]]) -> Rates:
    return Rates(
        scope=str(row.scope),
        accepted=int(row.accepted),
        bounced=int(row.bounced),
        complained=int(row.complained),
    )
