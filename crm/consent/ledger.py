"""Consent ledger: append-only evidence. The current state follows from it in one function, `_update_state`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text

from crm.audit import service as audit
from crm.consent.consent_texts import Wording
from crm.consent.rules import ConsentAction
from crm.core import clock
from crm.core.db import db, execute_raw

EVERYTHING = "*"  # the topic of evidence about all topics


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One row of evidence to write; `append` adds the actor and the time."""

    contact_id: int
    address_index: bytes | None
    topic: str
    action: ConsentAction
    language: str
    source: str
    wording: Wording | None = None
    message_id: int | None = None
    until: datetime | None = None


_APPEND = """
    insert into consent_record (contact_id, address_index, topic, action, wording, wording_hash, language, source,
        covers_collecting, covers_sharing, message_id, until, channel, actor, ip_index, at)
    select contact_id, address_index, topic, action, wording, wording_hash, language, source, covers_collecting,
        covers_sharing, message_id, until, 'email', :actor, :ip_index, :now
    from unnest(:contact_id::bigint[], :address_index::bytea[], :topic::text[], :action::text[],
        :wording::text[], :wording_hash::bytea[], :language::text[], :source::text[],
        :covers_collecting::boolean[], :covers_sharing::boolean[], :message_id::bigint[],
        :until::timestamptz[])
        with ordinality as e(contact_id, address_index, topic, action, wording, wording_hash, language, source,
            covers_collecting, covers_sharing, message_id, until, place)
    order by place
    returning id
"""
_CHANGES_STATE = frozenset({ConsentAction.GRANTED, ConsentAction.WITHDRAWN, ConsentAction.MERGED})


def append(rows: Sequence[Evidence]) -> list[int]:
    """Append evidence and update the state; return the ids, in the order of `rows`."""
    if not rows:
        return []
    db.session.flush()  # a new contact must exist first
    who, columns = audit.current(), [_columns(row) for row in rows]
    given: dict[str, Any] = {name: [column[name] for column in columns] for name in columns[0]}
    given |= {"actor": who.actor, "ip_index": who.ip_index, "now": clock.now()}
    ids = sorted(execute_raw(_APPEND, given).scalars())
    _update_state([row_id for row_id, row in zip(ids, rows, strict=True) if row.action in _CHANGES_STATE])
    return ids


def _columns(row: Evidence) -> dict[str, Any]:
    wording = row.wording
    return {
        "contact_id": row.contact_id,
        "address_index": row.address_index,
        "topic": row.topic,
        "action": row.action,
        "wording": wording.name if wording else None,
        "wording_hash": wording.hash if wording else None,
        "language": row.language,
        "source": row.source,
        "covers_collecting": bool(wording and wording.covers_collecting),
        "covers_sharing": bool(wording and wording.covers_sharing),
        "message_id": row.message_id,
        "until": row.until,
    }


_COPIED = "channel, wording, wording_hash, language, covers_collecting, covers_sharing"
_FROM_OTHERS = f"contact_id, address_index, topic, {_COPIED}, action, source, actor, ip_index, message_id, at"

_END = text(f"""
    insert into consent_record ({_FROM_OTHERS})
    select s.contact_id, r.address_index, s.topic, {", ".join("r." + name for name in _COPIED.split(", "))},
        :action, :source, :actor, :ip_index, :message_id, :now
    from consent_state s join consent_record r on r.id = s.record_id
    where s.contact_id = any(:contact_ids)
        and (s.granted or (r.source = 'merge' and cast(:source as text) <> 'merge'))
        and (cast(:topics as text[]) is null or s.topic = any(cast(:topics as text[])))
    order by s.contact_id, s.topic
    returning id, contact_id, topic
""")

_RESTORE = text(f"""
    insert into consent_record ({_FROM_OTHERS})
    select w.contact_id, w.address_index, w.topic, {", ".join("w." + name for name in _COPIED.split(", "))},
        'granted', :source, :actor, :ip_index, w.message_id, :now
    from consent_record w join consent_state s on s.record_id = w.id
    where w.contact_id = any(:contact_ids) and w.action = 'withdrawn' and w.at = :act
        and w.source = any(:sources)
    order by w.contact_id, w.topic
    returning id, contact_id, topic
""")


# The newer decision wins; consent is copied only if both records have the address it was given from.
_COPY_NEWER = text(f"""
    insert into consent_record ({_FROM_OTHERS})
    select i.id, f.address_index, f.topic, {", ".join("r." + name for name in _COPIED.split(", "))},
        case when f.granted then 'granted' else 'withdrawn' end, :source, :actor, :ip_index, r.message_id, :now
    from consent_state f join consent_record r on r.id = f.record_id and r.action <> 'merged'
    join contact i on i.id = :into_id
    left join consent_state t on t.contact_id = i.id and t.topic = f.topic
    where f.contact_id = :from_id and (t.contact_id is null or f.record_id > t.record_id)
        and (not f.granted or f.address_index = i.email_index)
    order by f.topic
    returning id, contact_id, topic
""")


def copy_newer_consent(*, from_id: int, into_id: int, source: str) -> Sequence[Row[Any]]:
    """Copy consent that is newer to the surviving record of a merge; return (id, contact_id, topic)."""
    return _copy(_COPY_NEWER, source, {"from_id": from_id, "into_id": into_id})


def withdraw_granted(
    *,
    contact_ids: Sequence[int],
    source: str,
    topics: Collection[str] | None = None,
    action: ConsentAction = ConsentAction.WITHDRAWN,
    message_id: int | None = None,
    at: datetime | None = None,
) -> Sequence[Row[Any]]:
    """Withdraw what these people granted (on these topics; None: on all); return (id, contact_id, topic) of each.

    What a merge ended counts as granted: its undo would bring that back, but for this decision.

    The new row repeats the wording of the consent it ends, so that an undo restores exactly that. `at` is the time of
    the whole act, if it includes more than this.
    """
    given = {
        "contact_ids": list(contact_ids),
        "topics": None if topics is None else sorted(topics),
        "action": action,
        "message_id": message_id,
    }
    return _copy(_END, source, given, at=at)


def restore_withdrawn(
    *, contact_ids: Sequence[int], act: datetime, sources: Collection[str], source: str
) -> Sequence[Row[Any]]:
    """Restore consent withdrawn at the time `act` and not changed since; return (id, contact_id, topic)."""
    return _copy(_RESTORE, source, {"contact_ids": list(contact_ids), "act": act, "sources": sorted(sources)})


_REFUSED_SINCE_MERGE = text("""
    select topic from (
        select distinct on (topic) topic, action from consent_record
        where contact_id = any(:people) and action in ('granted', 'withdrawn') and source not in ('merge', 'unmerge')
            and id > (select max(id) from consent_record
                where contact_id = :gone and action = 'merged' and topic = '*')
        order by topic, id desc
    ) newest where action = 'withdrawn'
""")


def refused_since_merge(*, kept_id: int, gone_id: int) -> list[str]:
    """Return the topics on which the newest decision since the merge, by either record, is a no."""
    given = {"people": [kept_id, gone_id], "gone": gone_id}
    return list(db.session.scalars(_REFUSED_SINCE_MERGE, given))


_UNMERGE = text(f"""
    insert into consent_record ({_FROM_OTHERS})
    select w.contact_id, r.address_index, w.topic, coalesce(r.channel, 'email'), r.wording, r.wording_hash,
        coalesce(r.language, c.language), coalesce(r.covers_collecting, false), coalesce(r.covers_sharing, false),
        case when r.action in ('granted', 'withdrawn') then r.action else 'unmerged' end, :source, :actor, :ip_index,
        r.message_id, :now
    from unnest(cast(:contacts as bigint[]), cast(:topics as text[]), cast(:records as bigint[]))
        as w(contact_id, topic, record_id)
    join contact c on c.id = w.contact_id left join consent_record r on r.id = w.record_id
    order by w.contact_id, w.topic
    returning id, contact_id, topic
""")


def append_unmerged(decisions: Sequence[tuple[int, str, int | None]], *, source: str) -> None:
    """Record that the decisions before a merge hold again: (contact id, topic, evidence; None: there was none)."""
    if decisions:
        contact_ids, topics, records = (list(values) for values in zip(*decisions, strict=True))
        _copy(_UNMERGE, source, {"contacts": contact_ids, "topics": topics, "records": records})


def _copy(
    statement: Any, source: str, given: dict[str, Any], *, at: datetime | None = None
) -> Sequence[Row[Any]]:
    who = audit.current()
    rows = db.session.execute(
        statement,
        {**given, "source": source, "actor": who.actor, "ip_index": who.ip_index, "now": at or clock.now()},
    ).all()
    _update_state([row.id for row in rows])
    return rows


_UPDATE_STATE = text("""
    insert into consent_state (contact_id, topic, granted, record_id, address_index, at)
    select distinct on (contact_id, topic) contact_id, topic, action = 'granted', id, address_index, at
    from consent_record
    where id = any(:ids) and action in ('granted', 'withdrawn', 'merged') and topic <> '*'
    order by contact_id, topic, id desc
    on conflict (contact_id, topic) do update
    set granted = excluded.granted, record_id = excluded.record_id, address_index = excluded.address_index,
        at = excluded.at
    where consent_state.record_id < excluded.record_id
""")


def _update_state(ids: list[int]) -> None:
    """Set the state to what the newest of these rows record. The newer row wins, in any order of writers."""
    if ids:
        db.session.execute(_UPDATE_STATE, {"ids": ids})
