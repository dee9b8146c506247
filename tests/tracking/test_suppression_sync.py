"""The suppression sync over real HTTP against the sandbox: page by page, repeated, both ways."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from crm.consent import service as consent
from crm.consent import suppressions
from crm.consent.models import Suppression
from crm.contacts.addresses import address_index
from crm.core.db import db, transaction
from crm.mailer import sendgrid_lists
from crm.mailer.sendgrid_lists import ListsError, SendGridLists
from crm.sandbox.server import SandboxServer
from crm.sandbox.settings import SandboxSettings
from crm.sandbox.store import Store
from crm.staff.models import Alert
from crm.tracking import rules, suppression_sync
from crm.tracking.models import Reconciliation
from jobs import tracking as job
from tests.support import factories as support_factories

NOW = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
NOBODY = "http://127.0.0.1:9"
BEFORE, AFTER = NOW - timedelta(days=2), NOW - timedelta(days=1)


@pytest.mark.parametrize(
    ("name", "everything", "marketing", "lifted_at", "expected"),
    [
        ("bounces", False, False, None, "stop"),
        ("bounces", True, False, None, None),
        ("bounces", False, True, None, "stop"),  # said no to education, and now nothing gets there at all
        ("bounces", False, False, AFTER, "stop"),
        ("unsubscribes", False, False, None, "stop"),
        ("unsubscribes", True, False, None, None),
        ("unsubscribes", False, True, None, None),
        ("unsubscribes", False, False, AFTER, "came_back"),
        ("unsubscribes", False, False, BEFORE - timedelta(days=1), "stop"),  # said yes, and no once more
        ("blocks", False, False, None, None),
    ],
)
def test_what_is_to_be_done(name, everything, marketing, lifted_at, expected):
    given = {"created": BEFORE, "everything": everything, "marketing": marketing, "lifted_at": lifted_at}
    assert rules.drift(name, **given) == expected


class Provider(SandboxServer):
    """A sandbox whose store the tests may write to."""

    store_path: Path


@pytest.fixture
def provider(sent, app, tmp_path) -> Iterator[Provider]:
    """The sandbox, and a worker's app that uses it."""
    settings = SandboxSettings(
        api_key="SG.right",
        signing_key_path=tmp_path / "key.pem",
        store_path=tmp_path / "mail.db",
        events=False,
    )
    with Provider(settings) as server:
        server.store_path = tmp_path / "mail.db"
        kept = app.settings
        app.settings = replace(kept, sendgrid_api_key="SG.right", sendgrid_url=server.url)
        yield server
        app.settings = kept


def listed(provider: Provider, name: str, *emails: str, at: datetime = BEFORE) -> None:
    store = Store(provider.store_path)
    with store.write() as connection:
        connection.executemany(
            "INSERT OR REPLACE INTO suppressions (email, list, created) VALUES (?, ?, ?)",
            [(email, name, int(at.timestamp())) for email in emails],
        )
    store.close()


def there(provider: Provider, name: str) -> set[str]:
    with closing(SendGridLists(api_key="SG.right", url=provider.url)) as lists:
        return {entry.email for entry in lists.page(name, since=None, offset=0)[0]}


def run() -> Reconciliation:
    job.reconcile()
    db.session.expire_all()
    return db.session.scalar(select(Reconciliation).order_by(Reconciliation.id.desc()).limit(1))


def stopped(email: str) -> set[tuple[str, str]]:
    rows = select(Suppression.scope, Suppression.reason).where(
        Suppression.address_index == address_index(email), Suppression.lifted_at.is_(None)
    )
    return {(row.scope, row.reason) for row in db.session.execute(rows)}


def open_alerts() -> set[str]:
    return set(db.session.scalars(select(Alert.key).where(Alert.closed_at.is_(None))))


def test_a_lost_event_is_found_by_the_sync(provider, clock):
    assert run().error is None
    listed(provider, "bounces", "Ana@patients.example", "stranger@elsewhere.example", at=NOW)
    listed(provider, "spam_reports", "ben@patients.example", at=NOW)
    listed(provider, "invalid_emails", "typo@patients.example", at=NOW)
    listed(provider, "unsubscribes", "cho@patients.example", at=NOW)
    listed(provider, "blocks", "full@patients.example", at=NOW)
    clock.shift(23 * 3_600)
    found = run()
    assert (found.added, found.error) == (5, None)
    assert found.seen == {
        "bounces": 2,
        "spam_reports": 1,
        "invalid_emails": 1,
        "unsubscribes": 1,
        "blocks": 1,
    }
    assert stopped("ana@patients.example") == {("all", "bounced")}
    assert stopped("ben@patients.example") == {("all", "complained")}
    assert stopped("typo@patients.example") == {("all", "invalid")}
    assert stopped("cho@patients.example") == {("marketing", "unsubscribed")}
    assert stopped("full@patients.example") == set()
    assert "suppression-drift" in open_alerts()
    exits = db.session.execute(text("select contact_id from enrolment where state = 'exited'")).all()
    assert len(exits) == 3
    clock.shift(23 * 3_600)
    assert run().added == 0


def test_the_first_time_nothing_has_drifted(provider):
    listed(provider, "bounces", "old@patients.example")
    assert run().added == 1
    assert open_alerts() == set()


def test_once_a_day(provider, clock):
    first = run()
    for _ in range(3):
        clock.shift(3_600)
        assert run().id == first.id
    clock.shift(86_400)
    assert run().id > first.id


def test_an_event_may_still_be_under_way(provider, clock):
    run()
    clock.shift(23 * 3_600)
    listed(provider, "bounces", "ana@patients.example", at=NOW + timedelta(hours=22, minutes=30))
    assert run().added == 0
    clock.shift(23 * 3_600)
    assert run().added == 1


def test_long_lists_come_in_pages(provider, monkeypatch):
    monkeypatch.setattr(sendgrid_lists, "PAGE", 7)
    monkeypatch.setattr(job, "PAGE", 7)
    listed(provider, "bounces", *(f"p{number}@patients.example" for number in range(23)))
    found = run()
    assert (found.added, found.seen["bounces"]) == (23, 23)


def test_who_came_back_to_us_is_taken_off_there(provider, sent, clock):
    (who, _, email), *_ = sent
    listed(provider, "unsubscribes", email, at=NOW - timedelta(hours=2))
    assert run().added == 1
    with transaction():
        consent.withdraw(contact_id=who, topic=None, source="one_click")
    clock.shift(86_400)
    with transaction():
        support_factories.opted_in(db.session.get(support_factories.Contact, who))
        suppressions.lift_suppressions([address_index(email)], by="test")
    found = run()
    assert (found.added, found.lifted) == (0, 1)
    assert email not in there(provider, "unsubscribes")
    assert stopped(email) == set()


def test_only_full_suppressions_are_copied_there(provider, sent, clock):
    stop = {"source": "staff", "reason": "asked"}
    with transaction():
        for (_, _, email), scope in zip(sent, ("all", "marketing", "all"), strict=True):
            suppressions.suppress(address_index=address_index(email), scope=scope, **stop)
        db.session.execute(text("update batch set transport = 'smtp' where id = (select batch_id from message where id = :id)"),
                           {"id": sent[2][1]})  # fmt: skip
    assert run().pushed == 1
    assert there(provider, "unsubscribes") == {sent[0][2]}  # and nobody the provider never had mail for
    clock.shift(86_400)
    found = run()
    assert (found.added, found.error) == (0, None)


@pytest.mark.parametrize(
    ("key", "url", "error", "alert"),
    [
        ("SG.wrong", None, "the provider refuses our key", True),
        ("SG.right", NOBODY, "the provider cannot be reached", False),
    ],
)
def test_a_provider_that_does_not_answer_well(provider, app, clock, key, url, error, alert):
    app.settings = replace(app.settings, sendgrid_api_key=key, sendgrid_url=url or provider.url)
    assert run().error == error
    assert ("suppression-lists" in open_alerts()) is alert
    app.settings = replace(app.settings, sendgrid_api_key="SG.right", sendgrid_url=provider.url)
    clock.shift(2 * 3_600)
    assert run().error is None
    assert open_alerts() == set()


def test_a_run_that_died_is_begun_again(provider, clock):
    with transaction():
        suppression_sync.begin()
    clock.shift(1_800)
    assert run().finished_at is None
    clock.shift(1_801)
    assert run().finished_at is not None


def test_the_lists_over_http(provider):
    with closing(SendGridLists(api_key="SG.right", url=provider.url)) as lists:
        lists.check_key()
        lists.add(["a+b@patients.example"])
        assert there(provider, "unsubscribes") == {"a+b@patients.example"}
        lists.remove("a+b@patients.example")
        assert there(provider, "unsubscribes") == set()
    for key, url, words in (
        ("SG.wrong", provider.url, "refuses our key"),
        ("SG.right", NOBODY, "cannot be reached"),
    ):
        with closing(SendGridLists(api_key=key, url=url)) as lists, pytest.raises(ListsError, match=words):
            lists.check_key()
