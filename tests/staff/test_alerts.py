"""Alerts: one line per kind, when they are emailed, and how they are closed."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from crm.core.db import db, transaction
from crm.core.errors import Conflict
from crm.staff import alerts, rules
from crm.staff.models import Alert
from crm.staff.notifications import service as notifications
from tests.support.browser_client import signed_in

NOW = datetime(2026, 3, 3, 17, tzinfo=UTC)


def ago(**values: float) -> datetime:
    return NOW - timedelta(**values)


@pytest.mark.parametrize(
    ("last", "urgent", "others", "expected"),
    [
        (None, None, None, False),
        (None, ago(), None, True),  # urgent: at once
        (ago(minutes=14), ago(), None, False),  # but not one email after the other
        (ago(minutes=15), ago(minutes=14), None, True),
        (None, None, ago(minutes=59), False),  # the others gather first
        (None, None, ago(hours=1), True),
        (ago(hours=3), None, ago(hours=2), False),
        (ago(hours=4), None, ago(hours=2), True),
        (ago(hours=1), ago(), ago(hours=1), True),
    ],
)
def test_when_alerts_are_emailed(last, urgent, others, expected):
    assert rules.alert_email_due(now=NOW, last=last, urgent_since=urgent, others_since=others) is expected


def open_many(count: int, *, kind: str = "lead-late", level: str = "warning") -> None:
    with transaction():
        for number in range(count):
            alerts.raise_alert(
                key=f"{kind}:{number}", level=level, text=f"One of {kind}", link=f"/x/{number}"
            )


def test_many_of_a_kind_are_one_line(database, clock, statements):
    open_many(30)
    clock.shift(60)
    open_many(1, kind="stream", level="danger")
    with statements() as counted, transaction():
        urgent, late = alerts.groups()
        assert notifications.bell_counts(0) == (2, 0)
    assert sum("from alert" in statement.lower() for statement in counted.texts) == 2
    assert (urgent.kind, urgent.count, urgent.text, urgent.link) == ("stream", 1, "One of stream", "/x/0")
    assert (late.kind, late.count, late.text) == ("lead-late", 30, "Overdue leads")
    assert late.since < urgent.since
    assert len(late.alerts) == alerts.SHOWN


def test_all_of_a_kind_are_closed_at_once_and_no_other(database, clock):
    open_many(3)
    open_many(2, kind="batch")
    with transaction():
        assert alerts.close_all("lead-late") == 3
    left = db.session.scalars(select(Alert.key).where(Alert.closed_at.is_(None)).order_by(Alert.key)).all()
    assert left == ["batch:0", "batch:1"]
    with pytest.raises(Conflict), transaction():
        alerts.close_all("lead-late")


def test_the_page_is_calm(client, database, clock):
    open_many(25)
    visitor = signed_in(database, "admin")
    page = visitor.get("/console/alerts")
    assert page.text.count('<th scope="row">') == 1
    assert "25 alerts" in page.text
    assert visitor.post("/console/alerts/kinds/lead-late/take").status_code == 302
    assert db.session.scalar(select(func.count(Alert.owner_id.distinct()))) == 1
    visitor.get("/console/alerts")
    assert visitor.post("/console/alerts/kinds/lead-late/close").status_code == 302
    said = visitor.get("/console/alerts").text
    assert "25 alerts closed." in said
    assert visitor.post("/console/alerts/kinds/lead-late/close").status_code == 409
    assert visitor.post(re.search(r'action="([^"]+/alerts/undo/\d+)"', said)[1]).status_code == 302
    assert db.session.scalar(select(func.count()).where(Alert.closed_at.is_(None))) == 25
