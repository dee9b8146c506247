"""The people of each way of a sequence's splits, and how many of them booked a consultation afterwards."""

from collections.abc import Collection, Mapping
from datetime import timedelta

from sqlalchemy import text

from crm.core import clock
from crm.core.db import bigint_array, db
from crm.sequences.splits.rules import Comparison, Way, compare

RESULTS_OF = timedelta(days=90)  # longer than for other parts: a consultation is booked weeks after an email

_WAYS = text("""
    select p.node, p.yes, count(*) as people, count(*) filter (where b.at > p.at) as booked
    from passage p join enrolment e on e.id = p.enrolment_id
    left join (
        select l.contact_id, max(v.created_at) as at from consultation v join lead l on l.id = v.lead_id
        where v.first_id is null and v.created_at > cast(:since as timestamptz) group by l.contact_id
    ) b on b.contact_id = e.contact_id
    where p.at > cast(:since as timestamptz) and e.sequence_id = :id and p.node = any(cast(:nodes as bigint[]))
    group by p.node, p.yes
""")


def comparisons(sequence_id: int, nodes: Collection[int]) -> Mapping[int, Comparison]:
    """Return number of a split -> how its ways compare, of people who came to it within RESULTS_OF."""
    if not nodes:
        return {}
    given = {"id": sequence_id, "nodes": bigint_array(nodes), "since": clock.now() - RESULTS_OF}
    ways = {(row.node, row.yes): Way(row.people, row.booked) for row in db.session.execute(_WAYS, given)}
    return {node: compare(ways.get((node, True), Way()), ways.get((node, False), Way())) for node in nodes}
