"""Call claims: two people never get the same lead, also at the same instant; a claim has an end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from crm.core.db import execute_raw, transaction
from crm.core.flask_app import CrmApp
from crm.desk.calling import claims
from tests.conftest import NOW
from tests.consent.factories import person
from tests.desk.test_console_work import new_lead
from tests.support.browser_client import member

PEOPLE = 4


@pytest.fixture
def two(database, clock):
    return member("front_desk"), member("clinician")


def next_lead(user, **more):
    with transaction():
        found = claims.claim_next(user_id=user.id, **more)
    return found and found.lead.id


def test_each_gets_another(two):
    me, other = two
    leads = [new_lead(number).id for number in (1, 2)]
    assert [next_lead(me), next_lead(other)] == leads
    assert next_lead(me) == leads[0]  # again mine
    assert next_lead(me, skipped=leads[:1]) is None  # the other one is taken
    assert next_lead(other, skipped=leads[1:]) == leads[0]  # mine has ended with the skip


def test_claim_ends(two, clock):
    me, other = two
    lead = new_lead(1).id
    assert next_lead(me) == lead
    assert claims.claim_of(me.id).until == NOW + timedelta(minutes=15)
    assert next_lead(other) is None
    clock.shift(15 * 60)
    assert claims.claim_of(me.id) is None
    assert next_lead(other) == lead
    claims.release(other.id)
    assert claims.claim_of(other.id) is None
    assert next_lead(me) == lead


@pytest.fixture
def crowd(app: CrmApp, redis) -> Iterator[tuple[int, list[int]]]:
    """A lead and four staff members that are committed, and removed afterwards."""
    with app.app_context(), transaction():
        contact_id = person().id
        lead_id = execute_raw(
            """insert into lead (reference, contact_id, kind, stage, source, created_at, stage_at, version)
            values ('C-CLA2MS', %(who)s, 'contact_request', 'new', 'form', now(), now(), 1) returning id""",
            {"who": contact_id},
        ).scalar_one()
        users = execute_raw(
            """insert into "user" (email, name, fs_uniquifier, created_at)
            select 'claim' || n || '@clinic.example', 'Claim ' || n, 'claim' || n, now()
            from generate_series(1, %(people)s) n returning id""",
            {"people": PEOPLE},
        ).scalars()
        found = lead_id, list(users)
    yield found
    with app.app_context(), transaction():
        execute_raw("set local session_replication_role = replica", {})  # lets even evidence go
        execute_raw("delete from call_claim where lead_id = %(lead)s", {"lead": lead_id})
        execute_raw("""delete from "user" where id = any(%(users)s)""", {"users": found[1]})
        execute_raw("delete from lead where id = %(lead)s", {"lead": lead_id})
        execute_raw("delete from contact where id = %(who)s", {"who": contact_id})


def test_one_of_many_at_once_gets_the_lead(app, crowd):
    lead_id, users = crowd
    start = Barrier(PEOPLE)

    def run(user_id):
        with app.app_context(), transaction():
            start.wait()
            return claims.claim(lead_id, user_id=user_id)

    with ThreadPoolExecutor(PEOPLE) as pool:
        assert sum(pool.map(run, users)) == 1
