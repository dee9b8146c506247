"""Funnel page: steps, breakdown, the leads behind a number, files, small cells, refusals."""

import csv
import io
import re
from datetime import timedelta

import pytest

from crm.core.db import db, transaction
from crm.leads.models import Lead, StageMove
from crm.reports import console, queries
from jobs import reports as jobs
from tests.conftest import NOW
from tests.support import factories
from tests.support.browser_client import BrowserClient, member


def add_lead(
    stage: str = "new", *, days: int = 1, language: str = "en", kind: str = "contact_request", **values
) -> Lead:
    """Add a lead that came in some days ago and went to `stage` a day later."""
    at = NOW - timedelta(days=days)
    with transaction():
        who = factories.contact(None, language=language, state="CA")
        lead = Lead(
            **{
                "reference": f"C-{who.id:06}", "contact_id": who.id, "kind": kind, "stage": stage, "source": "form",
                "created_at": at, "stage_at": at + timedelta(days=1), "attempts": 0, "urgent": False, "demo": False, **values,
            }
        )  # fmt: skip
        db.session.add(lead)
        db.session.flush()
        moved = StageMove(lead_id=lead.id, was="new", now=stage, actor="staff:1", at=at + timedelta(days=1))
        db.session.add(moved)
    return lead


@pytest.fixture
def reader(client, database, clock) -> BrowserClient:
    return BrowserClient(database).sign_in(member("viewer"))


def numbers(page: str) -> list[str]:
    found = re.findall(r'funnel-number">(.*?)</span>', page, flags=re.DOTALL)
    return [re.sub("<[^>]+>", "", one).strip() for one in found]


def test_shows_each_step_beside_the_time_before(reader):
    for stage, days in (("new", 1), ("contacted", 2), ("patient", 3), ("lost", 40), ("spam", 1)):
        add_lead(stage, days=days)
    jobs.count()
    page = reader.get("/console/reports?period=30").text
    assert numbers(page) == ["3", "2", "1", "1", "1", "1"]
    assert "3 leads came in; in the same time before: 1." in page
    assert "67% of the step before" in page


@pytest.mark.parametrize(
    ("now", "then", "said"),
    [
        (12, 10, "12 leads came in, 20% more"),
        (5, 10, "5 leads came in, 50% fewer"),
        (1, 0, "1 lead came in; in the same time before: 0"),
    ],
)
def test_says_how_the_time_before_was(app, now, then, said):
    with app.test_request_context("/"):
        assert console._sentence(now, then).startswith(said)


def test_each_number_leads_to_its_leads(reader):
    add_lead("new")
    booked = add_lead("consult_scheduled")
    jobs.count()
    page = reader.get("/console/reports").text
    [address] = [one for one in re.findall(r'href="(/console/reports/leads[^"]+)"', page) if "step=3" in one]
    shown = reader.get(address.replace("&amp;", "&")).text
    assert re.findall(r"/console/leads/(C-\w+)", shown) == [booked.reference]


def test_leads_behind_a_number_are_paged(reader, monkeypatch):
    monkeypatch.setattr(queries, "WHO", 2)
    references = {add_lead("new", days=days).reference for days in (1, 2, 3)}
    jobs.count()
    first = reader.get("/console/reports/leads?status=open").text
    older = re.search(r'href="([^"]+cursor=[^"]+)"', first)[1].replace("&amp;", "&")
    both = first + reader.get(older).text
    assert set(re.findall(r"/console/leads/(C-\w+)", both)) == references


def test_filters_are_in_the_address(reader):
    owner = member("front_desk", email="olga@clinic.example", name="Olga")
    add_lead("contacted", source="phone", owner_id=owner.id)
    add_lead("contacted")
    jobs.count()
    assert numbers(reader.get("/console/reports?source=phone").text)[0] == "1"
    page = reader.get(f"/console/reports?owner={owner.id}&by=owner").text
    assert numbers(page)[0] == "1"
    assert "Olga" in page
    assert numbers(reader.get("/console/reports?owner=0").text)[0] == "1"
    assert "No leads in this period" in reader.get("/console/reports?kind=referral").text


def test_says_where_people_stop(reader):
    add_lead("lost", reason="cost", closed_at=NOW)
    add_lead("contacted", days=30)
    jobs.count()
    page = reader.get("/console/reports").text
    assert "Cost (1)" in page
    assert "status=idle" in page


def test_few_people_of_one_language_are_not_counted_out(reader):
    for _ in range(6):
        add_lead("contacted")
    for _ in range(2):
        add_lead("contacted", language="es")
    jobs.count()
    assert numbers(reader.get("/console/reports?language=es").text)[0] == "&lt;5"
    rows = list(csv.reader(io.StringIO(reader.get("/console/reports?by=language&format=csv").text)))
    assert [row[1] for row in rows[1:]] == ["<5", "<5"]


def test_the_file_holds_the_table(reader):
    add_lead("qualified", first_touch={"utm_source": "=HYPERLINK(1)"})
    jobs.count()
    answer = reader.get("/console/reports?by=campaign&format=csv")
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert rows == [
        [
            "Campaign",
            "Received",
            "Reached",
            "Qualified",
            "Booked",
            "Attended",
            "Patient",
            "Days to a booking (median)",
        ],
        ["'=HYPERLINK(1)", "1", "1", "1", "0", "0", "0", ""],
    ]


@pytest.mark.parametrize(
    "query",
    ["period=5", "kind=person", "source=x", "language=fr", "by=name", "owner=x", "practice=-1", "from=1"],
)
def test_unknown_filters_are_refused(reader, query):
    assert reader.get(f"/console/reports?{query}").status_code == 422


@pytest.mark.parametrize("query", ["status=x", "step=9", "only=a", "cursor=x", "cursor=WyJ4Iiwx"])
def test_unknown_leads_are_refused(reader, query):
    assert reader.get(f"/console/reports/leads?{query}").status_code == 422
