"""The builder of segments without JavaScript, and broadcasts that use one."""

import html
import json
import re

import pytest
from sqlalchemy import select, text

from crm.campaigns import queries as campaigns
from crm.campaigns.models import Campaign
from crm.contacts.models import Tag
from crm.core import clock as clocks
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid
from crm.explain import service as explain
from crm.segments import queries, service
from crm.segments.models import SegmentRule
from crm.segments.rules import All, Condition, Not
from tests.campaigns.conftest import ITEM, audience, deliver, emails, freeze, launched, outbox, reached
from tests.support.browser_client import signed_in

__all__ = ["outbox"]

PATH = "/console/segments"


@pytest.fixture
def marketer(client, outbox):
    visitor = signed_in(client.application, "marketer")
    visitor.get(f"{PATH}/new")
    return visitor


def words(answer) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


class Builder:
    """The form as a browser sends it: what the page had, and one button."""

    def __init__(self, visitor) -> None:
        self.visitor, self.page = visitor, visitor.get(f"{PATH}/new")

    def press(self, do: str, **fields):
        found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', self.page.text))
        given = {name: html.unescape(value) for name, value in found.items() if name != "csrf_token"}
        self.page = self.visitor.post(f"{PATH}/build", given | {"do": do, **fields})
        return self.page


def tagged(ids, tag: str) -> None:
    with transaction():
        db.session.add_all(Tag(contact_id=one, tag=tag, added_at=clocks.now()) for one in ids)


def test_a_segment_is_built_step_by_step(marketer):
    people = audience(5)
    tagged(people[:3], "vip")
    tagged(people[:1], "away")
    builder = Builder(marketer)
    assert "Any of these" in words(builder.press("pick:tag"))
    assert builder.press("add", values=["vip"]).status_code == 200
    assert "People who have the tag vip." in words(builder.page)
    builder.press("pick:booked")
    builder.press("add", times="1", days="30", negated="yes")
    builder.press("group")
    builder.press("pick:tag")
    builder.press("add", where="2", values=["away"])
    builder.press("negate:2")
    shown = words(builder.page)
    assert (
        "People who have the tag vip and did not book a consultation in the last 30 days and do not match: "
        "have the tag away." in shown
    )
    assert "In the segment 2 Can be emailed 2" in shown
    assert builder.press("save", name="").status_code == 422
    saved = builder.press("save", name="VIP to call")
    assert saved.status_code == 302
    assert "VIP to call" in words(marketer.get(PATH))
    builder.page = marketer.get(saved.location)
    builder.press("remove:2")
    assert builder.press("save", name="VIP to call").status_code == 302
    [rule] = queries.newest()
    assert (rule.number, len(rule.rule["all"])) == (2, 2)


def test_why_people_cannot_be_emailed_is_counted(marketer):
    people = audience(3)
    with transaction():
        db.session.execute(
            text("update contact set stop_reason = 'deceased' where id = :id"), {"id": people[0]}
        )
    builder = Builder(marketer)
    builder.press("pick:language")
    shown = words(builder.press("add", values=["en"]))
    assert "In the segment 3 Can be emailed 2" in shown
    assert "Person" in shown  # a marketer sees no names here
    assert "Ana Lopez" not in shown


@pytest.mark.parametrize(
    ("do", "fields", "said"),
    [
        ("add", {"field": "tag"}, "Choose at least one."),
        ("add", {"field": "email"}, "Choose what the condition is about."),
        ("add", {"field": "booked", "times": "many"}, "Enter a whole number from 1 to 100."),
        ("add", {"field": "share", "times": "10", "values": "x", "where": "7"}, "was not found"),
        ("save", {"name": "Empty"}, "at least one condition"),
    ],
)
def test_mistakes_are_explained(marketer, do, fields, said):
    answer = Builder(marketer).press(do, **fields)
    assert answer.status_code == 422
    assert said in words(answer)


@pytest.mark.parametrize("rule", ["", "{", json.dumps({"field": "email", "values": ["x"]})])
def test_a_rule_that_cannot_be_read_starts_again(marketer, rule):
    assert marketer.post(f"{PATH}/build", {"rule": rule, "do": "count"}).status_code == 302


def saved(name: str, rule) -> int:
    with transaction():
        return service.save(name=name, rule=rule).id


VIP = All((Condition("tag", ("vip",)),))


def test_of_two_people_who_save_the_second_is_refused(marketer):
    first = saved("VIP", VIP)
    with transaction():
        segment_id = db.session.get_one(SegmentRule, first).segment_id
    with pytest.raises(Conflict), transaction():
        service.save(name="VIP", rule=VIP, segment_id=segment_id, base=0)
    with pytest.raises(Invalid), transaction():
        service.save(name="vip", rule=VIP)


def test_a_count_that_takes_too_long_ends(marketer, monkeypatch):
    audience(1)
    monkeypatch.setattr(queries, "COUNT_MS", 1)
    monkeypatch.setattr(
        queries,
        "_COUNT",
        "select cast('x' as text) as reason, 1 as people, array[1] as sample from pg_sleep(0.1)",
    )
    assert queries.count(VIP, topic="prospect_edu") is None
    assert db.session.scalar(text("select current_setting('statement_timeout')")) != "1ms"


def test_a_broadcast_asks_at_its_launch(marketer, outbox, app, clock):
    people = audience(6)
    tagged(people[:4], "vip")
    tagged(people[3:4], "away")
    inside, outside = (
        saved("VIP", VIP),
        saved("Away", All((Condition("tag", ("away",)), Not(Condition("booked"))))),
    )
    marketer.get("/console/campaigns")
    form = {"name": "News", "item": ITEM, "segments": [str(inside)], "exclude_segments": [str(outside)]}
    page = marketer.post("/console/campaigns", form).location
    shown = words(marketer.get(page))
    assert "in the segment VIP, except people in the segment Away" in shown
    found = campaigns.preflight(db.session.scalars(select(Campaign)).one())
    assert (found.people, found.skipped) == (3, {"excluded": 1})
    tagged(people[4:5], "vip")  # after the draft, before the launch
    assert marketer.post(f"{page}/launch", {"at": ""}).status_code == 302
    campaign_id = db.session.scalar(select(Campaign.id))
    freeze(campaign_id, first=2)
    deliver(app)
    assert reached(outbox) == emails([*people[:3], people[4]])
    with transaction():
        assert explain.of_campaign(campaign_id, people[5]).reason == "not_in_segment"
        assert explain.of_campaign(campaign_id, people[3]).reason == "excluded"


def test_an_unknown_segment_is_refused(marketer):
    with pytest.raises(Invalid):
        launched(segments=[999])
