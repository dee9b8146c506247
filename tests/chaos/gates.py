"""Gates that close while mail is on its way: pause, cancel, stop, night, a no, a zone that nobody can read."""

import random
import re
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
import requests

from crm.core import config
from crm.core.time_zones import NAMES
from tests.chaos.oracle import arrivals
from tests.chaos.results import Done
from tests.chaos.scenario import broadcast, finish, people, settle
from tests.chaos.traffic import StaffSession, WebTraffic
from tests.support.stack import Stack, wait_until

_SERIES = "select id from sequence where key = 'contact-request'"
_RUNNING = "select id from campaign where state = 'sending' order by id"
_UNDER_WAY = "select count(*) from batch where state = 'sending'"
_READY = "select coalesce(sum(size), 0) from batch where state = 'ready'"
_PAUSED = "select count(*) from enrolment where state = 'paused'"
_THROTTLED = "select throttled_until from sending_control where throttled_until > %(now)s"
_NEXT_FIRST = """
    select min(e.due_at) from enrolment e where e.state = 'active' and not exists (
        select 1 from message m where m.enrolment_id = e.id)
"""
# A few people of the broadcasts under way change their mind.
_SAY_NO = """
    with who as (
        select c.id, c.email_index from batch b join contact c on c.id = any(b.contact_ids)
        where b.state in ('ready', 'held') order by c.id limit 5
    ), said as (
        insert into consent_record (contact_id, address_index, topic, action, language, source, actor, at)
        select id, email_index, 'prospect_edu', 'withdrawn', 'en', 'test', 'test', %(now)s::timestamptz from who
        returning id, contact_id, at
    )
    update consent_state s set granted = false, record_id = said.id, at = said.at
    from said where s.contact_id = said.contact_id and s.topic = 'prospect_edu' returning s.contact_id
"""
# An array has no reference to the table.
_SPOIL = """
    update batch set time_zones = time_zones || '{Mars/Olympus_Mons}'::text[] where state = 'ready' returning id
"""
# Python and PostgreSQL can both read the first two, and neither is a place.
_BAD_ZONES = ("Etc/GMT+8", "Factory", "Mars/Olympus_Mons")


def pause_in_flight(stack: Stack, *, seed: int, kills: int) -> Done:
    """Broadcasts and a sequence paused and cancelled while the provider is slow and answers 503; a few people say no."""
    dice, desk = random.Random(seed), StaffSession(stack)
    series = _ids(stack, _SERIES)[0]
    held = cancelled = refused = 0
    for turn in range(4):
        _mood(
            stack,
            {"kind": "delay", "seconds": 0.6, "probability": 0.7, "seed": seed + turn},
            {"kind": "status", "status": 503, "probability": 0.6, "seed": seed + turn},
        )
        people(stack, 30)
        for _ in range(3):
            broadcast(stack, 30)
        _until(
            stack, lambda: len(_ids(stack, _RUNNING)) >= 3 and _number(stack, _UNDER_WAY), "a batch under way"
        )
        time.sleep(dice.uniform(0, 0.4))
        running = _ids(stack, _RUNNING)
        dice.shuffle(running)
        desk.post(f"/console/sequences/{series}/pause")
        verbs = {one: "cancel" if place == 0 else "pause" for place, one in enumerate(running)}
        moved = {one: verb for one, verb in verbs.items() if _moves(desk, one, verb)}
        with stack.sql() as database:
            refused += len(database.execute(_SAY_NO, {"now": stack.now()}).fetchall())
        for _ in range(3):  # what was under way comes back, and its time to try again passes
            time.sleep(0.5)
            stack.skip(2 / 1_440)
        _mood(stack)
        time.sleep(0.5)
        desk.post(f"/console/sequences/{series}/resume")
        for one in (one for one, verb in moved.items() if verb == "pause"):
            desk.post(f"/console/campaigns/{one}/resume")
        held += sum(verb == "pause" for verb in moved.values())
        cancelled += sum(verb == "cancel" for verb in moved.values())
    said = f"a sequence paused 4 times, {held} broadcasts paused, {cancelled} cancelled, {refused} people said no"
    return said, finish(stack)


def night_release(stack: Stack, *, seed: int, kills: int) -> Done:
    """All sending stopped by day and released at night: each person's mail waits for the hours where that person is."""
    desk, zones = StaffSession(stack), ("America/Los_Angeles", "America/New_York", "Pacific/Honolulu")
    _move_to(stack, _tuesday(stack.now(), hour=11))
    desk.post("/console/mail/stop", reason="chaos")
    for zone in zones:
        people(stack, 30, zone=zone, at_once=False)
        broadcast(stack, 30, zone=zone)
    _until(stack, lambda: _number(stack, _READY) >= 6 * 30, "everything to be planned")
    before = arrivals(stack)
    _move_to(stack, _tuesday(stack.now(), hour=22))
    desk.post("/console/mail/release")
    for _ in range(4):
        stack.ring()
        time.sleep(0.5)
    assert arrivals(stack) == before, "something left at night"
    return "180 emails stopped by day and released at 22:00 leave in the hours of three zones", finish(stack)


def bad_zone(stack: Stack, *, seed: int, kills: int) -> Done:
    """A zone that is none, at every entry, in a row and in a batch: each is refused, and the others get their mail."""
    desk, dice = StaffSession(stack), random.Random(seed)
    scopes = ("--scope", "contact-requests:write", "--scope", "referrals:write")
    key = stack.flask("api-key", "create", "zones", *scopes).split()[-1]
    for zone in _BAD_ZONES:
        assert zone not in NAMES
        _every_door_refuses(stack, desk, zone, key=key)
        people(stack, 30)
        broadcast(stack, 60)
        _no_row_holds(stack, zone, number=dice.randrange(1, stack.people))
        stack.ring()
    settle(stack)
    desk.post("/console/mail/stop", reason="chaos")
    broadcast(stack, 30)
    _until(stack, lambda: _number(stack, _READY) >= 30, "a batch to be ready")
    spoiled = _ids(stack, _SPOIL)
    broadcast(stack, 60)
    people(stack, 30)
    desk.post("/console/mail/release")
    verdict = finish(stack)
    with stack.sql() as database:
        failed = database.execute("select id, error from batch where state = 'failed'").fetchall()
    assert failed == [(one, "time zone not found") for one in spoiled], failed
    assert verdict.sent == stack.people - 30, verdict
    return f"{len(_BAD_ZONES)} names refused at 4 doors and by the database, one batch spoiled", verdict


def yes_while_paused(stack: Stack, *, seed: int, kills: int) -> Done:
    """A sequence is paused, and visitors confirm: they are enrolled, wait, and start when it goes on."""
    desk, series = StaffSession(stack), _ids(stack, _SERIES)[0]
    people(stack, 30)
    desk.post(f"/console/sequences/{series}/pause")
    with WebTraffic(stack) as traffic:
        wait_until(lambda: len(traffic.answered) >= 20, seconds=60, what="20 visitors")
    traffic.check()
    for address in traffic.answered:
        _until(stack, lambda: bool(stack.inbox(address)), "the question by email")  # noqa: B023 - called at once
        _say_yes(stack, stack.inbox(address)[0])
    waiting = _number(stack, _PAUSED)
    assert waiting >= len(traffic.answered), f"{waiting} wait, {len(traffic.answered)} said yes"
    settle(stack)
    before = arrivals(stack)
    stack.skip(1)
    for _ in range(3):
        stack.ring()
        time.sleep(0.5)
    assert arrivals(stack) == before, "a paused sequence sent something"
    desk.post(f"/console/sequences/{series}/resume")
    settle(stack)
    while next_first := _ids(stack, _NEXT_FIRST)[0]:
        _move_to(stack, max(next_first, stack.now()))
        settle(stack)
    return f"{len(traffic.answered)} visitors confirmed during a pause of a day", finish(stack)


def stop_while_throttled(stack: Stack, *, seed: int, kills: int) -> Done:
    """All sending stopped while the provider has asked for a pause: nothing leaves when that pause ends, all after release."""
    desk, throttles = StaffSession(stack), 0
    for _ in range(3):
        _mood(stack, {"kind": "rate_limit", "reset_in": 60, "times": 1})
        people(stack, 40)
        broadcast(stack, 40)
        _until(
            stack, lambda: bool(_ids(stack, _THROTTLED, now=stack.now())), "the provider to ask for a pause"
        )
        throttles += 1
        desk.post("/console/mail/stop", reason="chaos")
        _until(stack, lambda: not _number(stack, _UNDER_WAY), "what is under way to end")
        before = arrivals(stack)
        for _ in range(3):
            stack.skip(2 / 1_440)
            time.sleep(0.5)
        assert arrivals(stack) == before, "something left after the stop"
        desk.post("/console/mail/release")
    return f"stopped and released during {throttles} pauses that the provider asked for", finish(stack)


def _ids(stack: Stack, statement: str, **given: Any) -> list[Any]:
    with stack.sql() as database:
        return [one for (one,) in database.execute(statement, given)]


def _number(stack: Stack, statement: str) -> int:
    return int(_ids(stack, statement)[0])


def _mood(stack: Stack, *faults: Mapping[str, Any]) -> None:
    requests.put(f"{stack.sandbox_url}/sandbox/faults", json={"faults": faults}, timeout=5)


def _until(stack: Stack, true: Any, what: str) -> None:
    def rung() -> bool:
        stack.ring()
        return bool(true())

    wait_until(rung, seconds=180, what=what, pause=0.2)


def _moves(desk: StaffSession, campaign_id: int, verb: str) -> bool:
    """Pause or cancel a broadcast; return False for one that has just ended."""
    try:
        desk.post(f"/console/campaigns/{campaign_id}/{verb}")
    except requests.HTTPError as error:
        if error.response.status_code != 409:
            raise
        return False
    return True


def _tuesday(now: datetime, *, hour: int) -> datetime:
    """Return the next time that it is this hour of a Tuesday in Los Angeles."""
    local = now.astimezone(ZoneInfo("America/Los_Angeles"))
    then = local.replace(hour=hour, minute=0) + timedelta(days=(1 - local.weekday()) % 7)
    return then if then > local else then + timedelta(days=7)


def _move_to(stack: Stack, moment: datetime) -> None:
    stack.skip((moment - stack.now()) / timedelta(days=1))


def _say_yes(stack: Stack, mail: Mapping[str, Any]) -> None:
    """Follow the link of the question and confirm."""
    found = re.search(r"/c/[\w=-]+", mail["text"])
    assert found is not None, mail["text"]
    page, session = f"{stack.web_url}{found[0]}", requests.Session()
    hidden = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', session.get(page, timeout=20).text)
    answer = session.post(page, data={"csrf_token": hidden[:1]}, headers={"Referer": page}, timeout=20)
    answer.raise_for_status()


def _every_door_refuses(stack: Stack, desk: StaffSession, zone: str, *, key: str) -> None:
    """Name the zone in a contact request, a referral, an account and the settings."""
    person = {"first_name": "Ana", "last_name": "Chaos", "time_zone": zone}
    clinician = {"name": "Dr. Lee Park", "npi": "1234567893", "practice": "Hillside", "phone": "+12135550100"}
    patient = {**person, "birth_date": "1970-05-17", "phone": "+12135550177"}
    bodies: dict[str, dict[str, Any]] = {
        "contact-requests": {**person, "email": "zone@chaos.example", "language": "en"},
        "referrals": {
            "referrer": clinician,
            "patient": patient,
            "reason": {"text": "Chronic low back pain"},
            "patient_informed": True,
        },
    }
    for place, body in bodies.items():
        answer = requests.post(
            f"{stack.web_url}/api/v1/{place}",
            json=body,
            headers={"Authorization": f"Bearer {key}", "Idempotency-Key": f"{place}-{zone}"},
            timeout=15,
        )
        assert answer.status_code == 422, (place, answer.status_code)
        assert "time_zone" in answer.text, answer.text
    with pytest.raises(requests.HTTPError) as refused:
        desk.post("/console/account/time-zone", time_zone=zone)
    assert refused.value.response.status_code == 422
    with pytest.raises(config.ConfigError, match="CLINIC_TIME_ZONE"):
        config.load({**stack.env, "CLINIC_TIME_ZONE": zone})


def _no_row_holds(stack: Stack, zone: str, *, number: int) -> None:
    with stack.sql() as database, pytest.raises(psycopg.errors.ForeignKeyViolation):
        database.execute(
            "update contact set time_zone = %s where email ~ %s", [zone, f"^(odd|even){number}@chaos"]
        )
