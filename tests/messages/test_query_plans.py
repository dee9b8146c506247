"""Query plans of sending: no statement of claim, freezing, planning or sweep scans a whole table."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy import text

from crm.campaigns import audience as freezing
from crm.campaigns import service as campaigns
from crm.contacts.models import Tag
from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.explain import service as explain
from crm.messages.engine import claim, sweep
from crm.messages.limits import circuit_breakers, switches
from crm.sequences import planner
from crm.sequences import queries as sequences
from jobs.campaigns import look_after
from tests.campaigns.conftest import ITEM, audience, freeze
from tests.support.query_plans import plans_of

GROWING = re.compile(
    r"Seq Scan on (contact|contact_tag|consent_state|consent_record|suppression|message|batch|enrolment|provider_event"
    r"|webhook_receipt|audit_entry)\b"
)


@pytest.fixture
def clinic(outbox):
    """A broadcast that is frozen in part, a step that is due, and a cap on a mailbox provider."""
    people = audience(60)
    with transaction():
        db.session.execute(
            text("""
                insert into enrolment (contact_id, sequence_id, version_id, state, step, due_at, anchor_at, entered_at, send_now)
                select unnest(cast(:people as bigint[])), s.id, v.id, 'active', 0, :now, :now, :now, false
                from sequence s join sequence_version v on v.sequence_id = s.id where s.key = 'contact-request'
            """),
            {"people": people[:5], "now": clocks.now()},
        )  # fmt: skip
        db.session.add(Tag(contact_id=people[0], tag="away", added_at=clocks.now()))
        switches.set_pace(per_minute=50, per_day=1_000, ramp_from=None, domains={"patients.example": 10})
        ids = [campaigns.create(name="News", item=ITEM, exclude_tags=["away"]) for _ in range(2)]
        for campaign_id in ids:
            campaigns.launch(campaign_id)
    freeze(ids[0])
    return ids


def whole(act: Callable[[], object]) -> list[tuple[str, list[str]]]:
    """The statements of `act` for which PostgreSQL knows no way but to read a growing table from end to end."""
    found = [(statement, GROWING.findall(plan)) for statement, plan in plans_of(act)]
    return [(statement, tables) for statement, tables in found if tables]


ACTS = {
    "freezing a slice": lambda app, ids: freezing.freeze_slice(ids[1], first=20),
    "claim": lambda app, ids: claim.claim_next_batch(
        clinic=app.settings.clinic, public_url=app.settings.public_url
    ),
    "planner": lambda app, ids: planner.plan_due(),
    "sweep": lambda app, ids: sweep.run_sweep(production=False),
    "breakers": lambda app, ids: (circuit_breakers.stream_rates(), circuit_breakers.campaign_rates(ids)),
    "looking after campaigns": lambda app, ids: look_after(),
    "sequence list": lambda app, ids: sequences.every(),
    "sequence page": lambda app, ids: sequences.steps(_sequence()),
    "why": lambda app, ids: explain.of_campaign(ids[0], _somebody()),
}


def _sequence() -> int:
    return db.session.scalar(text("select id from sequence where key = 'contact-request'"))


def _somebody() -> int:
    return db.session.scalar(text("select min(contact_id) from message where campaign_id is not null"))


@pytest.mark.parametrize("name", ACTS)
def test_nothing_reads_a_growing_table_whole(clinic, app, name):
    if name == "why":
        with transaction():
            claim.claim_next_batch(clinic=app.settings.clinic, public_url=app.settings.public_url)
    assert whole(lambda: ACTS[name](app, clinic)) == []


def test_sequence_page_reads_only_batches_of_the_last_days(clinic, app, clock):
    """Its results are bounded: older batches are outside the range that the index is asked for."""
    with transaction():
        planner.plan_due()
        db.session.execute(text("update batch set state = 'cancelled' where kind = 'sequence'"))
        sequence_id = _sequence()
        given = {"id": sequence_id, "since": clocks.now() - sequences.RESULTS_OF}
        db.session.execute(text("set local enable_seqscan = off"))
        plan = "\n".join(db.session.scalars(text(f"explain {sequences.RESULTS.text}"), given))
    # by the sequence and the range, or by the range alone: that depends on what PostgreSQL last counted
    assert re.search(r"Index Cond: \((\(sequence_id = .*\) AND \()?id >= ", plan), plan
    with transaction():
        db.session.execute(
            text("update message set state = 'skipped', state_at = :now"), {"now": clocks.now()}
        )
        assert sum(step.skipped for step in sequences.steps(sequence_id)) == 5
        db.session.execute(text("update batch set created_at = created_at - interval '31 days'"))
        assert sum(step.skipped for step in sequences.steps(sequence_id)) == 0
