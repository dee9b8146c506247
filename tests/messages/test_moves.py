"""The database refuses every move of a state that its table of moves does not hold, and allows every one it does."""

from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from crm.campaigns.rules import CAMPAIGN_MOVES, CampaignState
from crm.core.db import db, transaction
from crm.messages.rules import BATCH_MOVES, MESSAGE_MOVES, MOVES_WITHOUT_CALL, BatchState, MessageState
from tests.support import factories

MADE = {
    "batch": """
        insert into batch (kind, stream, transport, content_version_id, language, size, state, lease_until, attempts,
            created_at, not_before, state_at)
        select 'sequence', 'prospect_edu', 'sendgrid', min(id), 'en', 1, :state,
            case when :state = 'sending' then now() end, 3, now(), now(), now() from content_version
        returning id
    """,
    "message": """
        insert into message (batch_id, contact_id, content_version_id, state, created_at)
        values (1, 1, 1, :state, now()) returning id
    """,
    "campaign": """
        insert into campaign (name, item_id, topic, audience, state, created_at, created_by)
        select 'News', min(id), 'prospect_edu', '{}', :state, now(), 'staff:1' from content_item returning id
    """,
}


def allowed(table: str, states, *, also: str = "") -> set[tuple]:
    """Try every pair of states on real rows; return the pairs that the database lets through."""
    found = set()
    with transaction():
        for old in states:
            row_id = db.session.scalar(text(MADE[table]), {"state": old})
            for new in states:
                if old == new:
                    continue
                lease = (
                    ", lease_until = case when :state = 'sending' then now() end" if table == "batch" else ""
                )
                change = text(f"update {table} set state = :state{lease}{also} where id = :id")
                step = db.session.begin_nested()
                with suppress(IntegrityError):
                    db.session.execute(change, {"state": new, "id": row_id})
                    found.add((old, new))
                step.rollback()
    return found


def pairs(*tables) -> set[tuple]:
    return {(old, new) for table in tables for old, targets in table.items() for new in targets}


@pytest.fixture(autouse=True)
def content(outbox) -> None:
    with transaction():
        factories.contact()


def test_batches():
    assert allowed("batch", list(BatchState)) == pairs(BATCH_MOVES)


def test_batches_whose_attempt_made_no_call():
    found = allowed("batch", list(BatchState), also=", attempts = attempts - 1")
    assert found == pairs(BATCH_MOVES, MOVES_WITHOUT_CALL)


def test_messages():
    assert allowed("message", [None, *MessageState]) == pairs(MESSAGE_MOVES)


def test_campaigns():
    assert allowed("campaign", list(CampaignState)) == pairs(CAMPAIGN_MOVES)


@pytest.mark.parametrize(
    ("moves", "states"),
    [(BATCH_MOVES, BatchState), (CAMPAIGN_MOVES, CampaignState), (MESSAGE_MOVES, MessageState)],
)
def test_every_state_has_a_row(moves, states):
    assert set(moves) - {None} == set(states)
