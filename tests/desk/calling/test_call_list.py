"""The calling list: its order, why a lead stands where it stands, who is left out."""

from datetime import timedelta

import pytest

from crm.core.db import transaction
from crm.core.errors import Invalid
from crm.core.paging import encode
from crm.desk import worklists
from crm.desk.calling import call_list, claims
from crm.desk.calling.call_list import Rank
from crm.leads import call_log, models, rules, service
from tests.conftest import NOW
from tests.desk.test_console_work import new_lead
from tests.intake.test_service import refer
from tests.support.browser_client import member
from tests.support.query_plans import plans_of

HOUR = timedelta(hours=1)


def places(me=0):
    return [(place.lead.id, place.rank) for place in call_list.load_calls(me=me).rows]


def test_order_and_reason(database, clock):
    """A promised call, new requests, urgent referrals, new referrals, the overdue and the rest, page by page."""
    new, late, rest, promised = (new_lead(number) for number in (1, 2, 3, 4))
    with transaction():
        routine, urgent = (
            service.get(refer(health={"reason": urgency}, urgency=urgency).lead_id)
            for urgency in ("routine", "urgent")
        )
        for lead in (late, rest):
            service.move_stage(lead_id=lead.id, version=lead.version, to="contacted")
        late.due_at = NOW - timedelta(days=30)
        call_log.log_call(lead_id=promised.id, channel="phone", outcome="callback", call_again_at=NOW + HOUR)
    clock.shift(3600)
    wanted = [(promised, 0), (new, 1), (urgent, 2), (routine, 3), (late, 4), (rest, 5)]
    found, cursor = [], None
    while len(found) < len(wanted):
        page = call_list.load_calls(me=1, cursor=cursor, limit=2)
        found, cursor = [*found, *page.rows], page.next
    assert [(one.lead.reference, one.rank) for one in found] == [
        (one.reference, rank) for one, rank in wanted
    ]
    assert cursor is None
    assert found[0].at == NOW + HOUR
    assert worklists.list_counts(me=1)["call_now"] == "6"


def test_promised_call_waits_for_its_time(database, clock):
    lead = new_lead(1)
    with transaction():
        call_log.log_call(lead_id=lead.id, channel="phone", outcome="no_answer", call_again_at=NOW + 5 * HOUR)
    clock.shift(4 * 3600)
    assert places() == []  # rested for long enough, but promised for later
    clock.shift(3600)
    assert places() == [(lead.id, Rank.CALLBACK)]
    with transaction():
        call_log.log_call(lead_id=lead.id, channel="phone", outcome="no_answer")
    assert places() == []  # the promise is kept
    clock.shift(4 * 3600)
    assert places() == [(lead.id, Rank.NEW_REQUEST)]


def test_lead_that_another_person_is_calling(database, clock):
    lead, me, other = new_lead(1), member("front_desk"), member("clinician")
    with transaction():
        claims.claim_next(user_id=other.id)
    assert places(me.id) == []
    assert places(other.id) == [(lead.id, Rank.NEW_REQUEST)]
    clock.shift(15 * 60)
    assert places(me.id) == [(lead.id, Rank.NEW_REQUEST)]


@pytest.mark.parametrize("rank", [-1, 6])
def test_cursor_of_no_rank(database, clock, rank):
    with pytest.raises(Invalid):
        call_list.load_calls(me=0, cursor=encode(rank, NOW, 1))


def test_each_rank_is_a_bounded_range_of_one_index(database, clock):
    """However many leads wait and cannot be called at this hour."""
    plans = plans_of(lambda: (call_list.load_calls(me=0), worklists.list_counts(me=0)))
    found = "\n".join(plan for statement, plan in plans if "scan" in statement)
    assert found.count("Index Scan using ix_lead_call") == 2 * (len(Rank) - 1)
    assert "Seq Scan on lead" not in found


def test_ranks_are_those_of_the_rules(database):
    """The index holds the stages as text: they are the rules'."""
    stages = {stage for table in rules.STAGES.values() for stage in table}
    assert set(models.TO_CALL) <= stages
    assert all(f"'{stage}'" in models.CALL_RANK for stage in rules.UNTOUCHED)
