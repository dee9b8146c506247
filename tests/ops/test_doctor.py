"""`flask doctor`: each fault is reported, and nothing when all is well."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import dns.flags
import dns.message
import dns.resolver
import dns.rrset
import pytest
from rq import SimpleWorker
from rq.serializers import JSONSerializer
from sqlalchemy import text

from crm.core import business_hours, current, queue
from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.mailer import dns_records
from crm.messages.limits import copy_guard, switches
from crm.ops import doctor
from crm.sandbox.server import SandboxServer
from crm.sandbox.settings import SandboxSettings
from crm.staff import alerts
from tests.messages.conftest import outbox
from tests.messages.test_engine import deliver_all, enrolled, plan
from tests.support import states

__all__ = ["outbox"]


@pytest.fixture(scope="module")
def provider(tmp_path_factory) -> Iterator[SandboxServer]:
    folder = tmp_path_factory.mktemp("provider")
    house = SandboxSettings(
        api_key="SG.right", signing_key_path=folder / "key.pem", store_path=folder / "mail.db", events=False
    )
    with SandboxServer(house) as server:
        yield server


@pytest.fixture
def house(app, provider):
    """An installation whose key is right and whose webhook has a key, too."""
    return replace(
        app.settings, sendgrid_api_key="SG.right", sendgrid_url=provider.url, sendgrid_webhook_keys=("k",)
    )


@contextmanager
def at_work(redis, *names: str) -> Iterator[None]:
    """A worker has said that it looks at these queues, and a scheduler that it leads."""
    worker = SimpleWorker(
        [queue.queue(name) for name in names or queue.QUEUES], connection=redis, serializer=JSONSerializer
    )
    worker.register_birth()
    redis.set("scheduler:lead", "s", ex=15)
    try:
        yield
    finally:
        worker.register_death()


def said(house, *, level: str | None = None) -> dict[str, str]:
    """Code -> text of what the doctor finds."""
    with transaction():
        found = doctor.examine(house)
    return {one.code: one.text for one in found if level is None or one.level == level}


def test_all_is_well(outbox, redis, house):
    with at_work(redis):
        assert said(house, level="problem") == {}


@pytest.mark.parametrize(
    ("names", "scheduler", "codes"),
    [
        ((), True, set()),
        (("bulk", "low"), True, {"workers"}),
        ((), False, {"scheduler"}),
    ],
)
def test_processes(outbox, redis, house, names, scheduler, codes):
    with at_work(redis, *names):
        if not scheduler:
            redis.delete("scheduler:lead")
        assert set(said(house, level="problem")) == codes


def test_nobody_is_at_work(outbox, redis, house):
    found = said(house, level="problem")
    assert set(found) == {"workers", "scheduler"}
    assert "flask --app wsgi worker" in found["workers"]


def test_a_database_older_than_its_mail(outbox, redis, house):
    with at_work(redis):
        with transaction():
            switches.heartbeat(guard_silence=False)
        (name,) = copy_guard.outside().read()
        copy_guard.outside().raise_to(name, 10**17)
        found = said(house, level="problem")
        assert set(found) == {"copy"}
        assert "older than the mail" in found["copy"]
        with transaction():
            switches.heartbeat(guard_silence=False)
        assert set(said(house, level="problem")) == {"copy", "stopped"}
        with transaction():
            switches.release(by="Kim")
        assert said(house, level="problem") == {}


def test_a_mark_file_that_cannot_be_written(outbox, redis, house):
    house.sending_mark_file.mkdir()
    try:
        with at_work(redis):
            found = said(house, level="problem")
    finally:
        house.sending_mark_file.rmdir()
    assert set(found) == {"mark-file"}
    assert "SENDING_MARK_FILE" in found["mark-file"]


def test_redis_is_away(outbox, house):
    current.services().redis = type(queue.redis())(port=9)
    assert set(said(house, level="problem")) == {"redis"}


def test_nothing_is_swept_though_everybody_is_there(outbox, redis, house, clock):
    with transaction():
        switches.heartbeat(guard_silence=False)
    clock.shift(60)
    with at_work(redis):
        assert "pulse" not in said(house)
        clock.shift(240)
        redis.set("scheduler:lead", "s")
        assert "5 minutes" in said(house)["pulse"]
        with transaction():
            switches.stop(by="Kim", reason="Looking at it.")
        found = said(house, level="problem")
    assert set(found) == {"stopped"}
    assert "Kim: Looking at it." in found["stopped"]


def accepted(app) -> None:
    enrolled()
    plan()
    deliver_all(app)


def heard(at) -> None:
    with transaction():
        db.session.execute(
            text("insert into webhook_receipt (received_at, applied_at, body) values (:at, :at, '')"),
            {"at": at},
        )


def test_the_webhook_is_silent_while_mail_is_accepted(outbox, redis, app, house, clock):
    heard(clocks.now() - timedelta(minutes=1))  # it worked before
    accepted(app)
    with at_work(redis):
        clock.shift(3_599)
        assert "webhook-silent" not in said(house)
        clock.shift(2)
        assert "/webhooks/sendgrid" in said(house)["webhook-silent"]
        heard(clocks.now())
        assert "webhook-silent" not in said(house)
    with transaction():
        db.session.execute(text("delete from webhook_receipt"))
    clock.shift(86_400)
    assert "webhook-silent" not in said(house)  # nothing was accepted since yesterday


def test_events_wait_and_their_key_is_missing(outbox, house, clock):
    with transaction():
        db.session.execute(
            text("insert into webhook_receipt (received_at, body) values (:at, '')"), {"at": clocks.now()}
        )
    clock.shift(301)
    assert "events-wait" in said(house)
    assert "SENDGRID_WEBHOOK_KEY" in said(replace(house, sendgrid_webhook_keys=()))["webhook-key"]


def test_overdue_mail_is_reported(outbox, house, clock):
    enrolled()
    plan()
    clock.shift(599)
    assert "backlog" not in said(house)
    clock.shift(2)
    assert "ten minutes" in said(house)["backlog"]
    with transaction():
        switches.stop_stream("prospect_edu", reason="bounces: 4 of 200")
    found = said(house)
    assert "backlog" not in found
    assert "bounces: 4 of 200" in found["breaker"]


@pytest.mark.parametrize(
    ("state", "error", "code"),
    [
        ("uncertain", None, "uncertain"),
        ("failed", "400 bad", "failed"),
        ("failed", "blocked_policy", "blocked"),
        ("held", "content changed", "content"),
    ],
)
def test_what_waits_for_a_person(outbox, house, state, error, code):
    enrolled()
    plan()
    with transaction():
        states.bring("batch", state, where="kind = 'sequence'")
        db.session.execute(text("update batch set error = :error where kind = 'sequence'"), {"error": error})
    assert code in said(house, level="note")


@pytest.mark.parametrize(
    ("hours", "kept"),
    [("Mon-Fri 08:00-17:00", True), ("Mon-Thu 08:00-17:00", False), ("Tue 08:00-17:00", False)],
)
def test_opening_hours_that_do_not_keep_what_emails_promise(outbox, app, house, monkeypatch, hours, kept):
    opened = business_hours.calendar(zone=current.calendar().zone, hours=hours, closed="")
    monkeypatch.setattr(app.services, "calendar", opened)
    assert ("promises" not in said(house, level="note")) is kept


@pytest.mark.parametrize(
    ("error", "days", "words"),
    [(None, 1, None), (None, 3, "two days"), ("the key may not do this", 0, "the key may not do this")],
)
def test_lists_that_are_not_compared(outbox, house, error, days, words):
    with transaction():
        db.session.execute(
            text("insert into reconciliation (started_at, finished_at, error) values (:at, :at, :error)"),
            {"at": clocks.now() - timedelta(days=days), "error": error},
        )
    assert words is None or words in said(house)["lists"]
    assert words is not None or "lists" not in said(house)


def test_the_key_is_refused_or_nobody_is_there(outbox, house):
    assert "SENDGRID_API_KEY" in said(replace(house, sendgrid_api_key="SG.wrong"))["key"]
    assert "cannot be reached" in said(replace(house, sendgrid_url="http://127.0.0.1:9"))["key"]
    assert "key" not in said(house)


def test_faults_raise_alerts_that_close_by_themselves(outbox, app, house, clock):
    accepted(app)
    clock.shift(3_601)
    with transaction():
        assert doctor.raise_alerts(house) == ["webhook-silent"]
    assert [group.kind for group in alerts.groups()] == ["webhook-silent"]
    heard(clocks.now())
    with transaction():
        assert doctor.raise_alerts(house) == []
    assert alerts.groups() == []


def test_a_made_up_domain_is_not_asked_about(outbox, house):
    assert "not checked" in said(house, level="note")["dns"]


ZONE = {
    "good.clinic": ["v=spf1 include:sendgrid.net -all", "something else"],
    "s1._domainkey.good.clinic": ["k=rsa; t=s; p=MIGfMA0"],
    "_dmarc.good.clinic": ["v=DMARC1; p=reject"],
    "news.good.clinic": ["v=spf1 -all"],
    "s2._domainkey.news.good.clinic": ["p=MIGf"],
    "open.clinic": ["v=spf1 +all"],
    "s1._domainkey.open.clinic": ["v=DKIM1; p="],  # a revoked key
    "twice.clinic": ["v=spf1 -all", "v=spf1 include:sendgrid.net -all"],
}


@pytest.fixture(scope="module")
def resolver() -> Iterator[dns.resolver.Resolver]:
    """A name server of our own on this machine, which knows ZONE."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            packet, where = server.recvfrom(4096)
            if packet == b"end":
                return
            query = dns.message.from_wire(packet)
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.RA
            name = query.question[0].name
            if texts := ZONE.get(name.to_text(omit_final_dot=True)):
                answer.answer.append(
                    dns.rrset.from_text_list(name, 60, "IN", "TXT", [f'"{one}"' for one in texts])
                )
            elif "broken" in name.to_text():
                continue
            else:
                answer.set_rcode(3)
            server.sendto(answer.to_wire(), where)

    thread = threading.Thread(target=serve)
    thread.start()
    made = dns.resolver.Resolver(configure=False)
    made.nameservers, made.port = ["127.0.0.1"], server.getsockname()[1]
    yield made
    server.sendto(b"end", server.getsockname())
    thread.join()
    server.close()


@pytest.mark.parametrize(
    ("domain", "spf", "dkim", "dmarc"),
    [
        ("good.clinic", True, True, True),
        ("news.good.clinic", True, True, True),  # the record of the domain above holds
        ("open.clinic", False, False, False),
        ("twice.clinic", False, False, False),
        ("nothing.clinic", False, False, False),
    ],
)
def test_what_a_domain_says_of_itself(resolver, domain, spf, dkim, dmarc):
    found = {record.name: record.fine for record in dns_records.look_up(domain, resolver=resolver)}
    assert found == {"SPF": spf, "DKIM": dkim, "DMARC": dmarc}


def test_a_name_server_that_does_not_answer(resolver, monkeypatch):
    monkeypatch.setattr(dns_records, "QUERY_SECONDS", 0.05)
    assert {record.fine for record in dns_records.look_up("broken.clinic", resolver=resolver)} == {None}


@pytest.mark.parametrize(
    ("domain", "real"),
    [
        ("clinic.org", True),
        ("clinic.example", False),
        ("mail.example.com", False),
        ("localhost", False),
        ("a.test", False),
    ],
)
def test_real_domains(domain, real):
    assert dns_records.is_real(domain) is real
