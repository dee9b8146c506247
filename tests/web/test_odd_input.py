"""Input that no browser sends: zero bytes, digits that are no number, huge numbers. No page fails."""

import pytest

from tests.desk.test_console_work import new_lead
from tests.support.browser_client import signed_in

SUPERSCRIPT, ENDLESS = "²", "9" * 5000


@pytest.fixture
def lead(database, clock, redis):
    return new_lead(1)


@pytest.mark.parametrize("text", [SUPERSCRIPT, ENDLESS])
def test_numbers_that_are_none(database, lead, text):
    reader = signed_in(database, "admin")
    reader.get("/console/leads/")
    here = f"/console/leads/{lead.reference}"
    answers = [
        reader.get("/console/leads/", query_string={"owner": text}),
        reader.get("/console/audit", query_string={"object_id": text}),
        reader.post("/console/leads/bulk", {"act": "spam", "pick": text}),
        reader.post(f"{here}/owner", {"owner": text, "version": text}),
        reader.post(f"{here}/close", {"as": "spam", "version": text}),
        reader.post("/console/mail/decide", {"batch": text}),
    ]
    assert all(answer.status_code < 500 for answer in answers)
    assert lead.stage == "new"


@pytest.mark.parametrize("number", ["9" * 19, ENDLESS])
def test_addresses_with_numbers_that_no_row_has(database, lead, number):
    reader = signed_in(database, "admin")
    places = ("why/messages", "content/authorizations", "leads/bulk")
    assert {reader.get(f"/console/{place}/{number}").status_code for place in places} == {404}
    assert reader.get(f"/api/v1/messages/{number}/why").status_code == 404


def test_zero_bytes(database, lead):
    reader = signed_in(database, "admin")
    reader.get("/console/leads/")
    answers = [
        reader.get("/console/leads/search", query_string={"q": "a\0b"}),
        reader.get("/console/referrers/", query_string={"q": "a\0b"}),
        reader.get("/console/audit", query_string={"actor": "a\0b"}),
        reader.get("/console/leads/a%00b"),
        reader.get("/console/erase/a%00b"),
        reader.post("/console/leads/filters", {"name": "a", "kind": "a\0b"}),
        reader.post(f"/console/leads/{lead.reference}/owner", {"owner": "", "version": "a\0b"}),
    ]
    assert {answer.status_code for answer in answers} <= {200, 302, 400, 404, 409}
    assert answers[0].status_code == 400


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01"])
def test_far_days(database, day):
    reader = signed_in(database, "admin")
    assert reader.get("/console/audit", query_string={"since": day, "until": day}).status_code == 200
