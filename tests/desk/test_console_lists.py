"""Bulk actions, saved filters, board and inbox."""

import re

import pytest
from sqlalchemy import func, select

from crm.contacts.models import Tag
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid
from crm.desk import board, replies, saved_filters
from crm.desk import search as desk_search
from crm.desk.bulk import actions as bulk_actions
from crm.desk.bulk import service as bulk
from crm.desk.models import BulkItem, BulkRun, SavedFilter
from crm.leads import assignment, rules, service
from crm.leads.models import Lead, StageMove, Task
from crm.messages.models import Message
from jobs import leads as jobs
from tests.desk.test_console_work import _me, desk, new_lead  # noqa: F401 - fixture
from tests.intake.test_service import refer
from tests.support import factories as support_factories
from tests.support.browser_client import member, signed_in

pytestmark = pytest.mark.usefixtures("clock")


def version(lead: Lead) -> int:
    return db.session.execute(
        db.text("select version from lead where id = :id"), {"id": lead.id}
    ).scalar_one()


def looks(counted) -> int:
    """How many statements, not counting the marks of the test's own transaction."""
    return sum("SAVEPOINT" not in text for text in counted.texts)


def planned(act: str, leads, **form) -> BulkRun:
    with transaction():
        return bulk.plan_run(
            act=act, form=form, lead_ids=[lead.id for lead in leads], user_id=_me("front_desk")
        )


def done(act: str, leads, **form) -> BulkRun:
    run = planned(act, leads, **form)
    with transaction():
        return bulk.start_run(run_id=run.id, user_id=run.user_id)


def back(run: BulkRun) -> dict[str, int]:
    with transaction():
        bulk.undo_run(run_id=run.id, user_id=run.user_id)
    return dict(bulk.summary(run.id).counts)


def tomorrow() -> str:
    return "2026-03-05T18:00:00+00:00"


FORMS = {
    "assign": lambda: {"owner": str(_me("front_desk"))},
    "move": lambda: {"to": "lost", "reason": "cost"},
    "tag": lambda: {"tag": "Spring"},
    "task": lambda: {"title": "Ask again", "due_at": tomorrow()},
    "spam": dict,
}


@pytest.mark.parametrize("act", FORMS)
def test_plan_run_undo(desk, act):  # noqa: F811
    leads = [new_lead(number) for number in range(3)]
    if act == "move":
        with transaction():
            for lead in leads:
                service.move_stage(lead_id=lead.id, version=lead.version, to="contacted")

    def state():
        db.session.expire_all()
        return (
            [(one.stage, one.reason, one.owner_id, one.due_at, one.closed_at) for one in leads],
            db.session.scalars(select(Tag.tag)).all(),
            db.session.scalars(select(Task.title)).all(),
        )

    before = state()
    run = planned(act, leads, **FORMS[act]())
    assert bulk.summary(run.id).waiting == 3
    assert state() == before
    with transaction():
        bulk.start_run(run_id=run.id, user_id=run.user_id)
    assert (run.state, bulk.summary(run.id).done) == ("done", 3)
    assert state() != before
    assert back(run) == {"undone": 3}
    assert state() == before


def test_restore_from_spam(desk):  # noqa: F811
    leads = [new_lead(number) for number in range(2)]
    done("spam", leads)
    assert {lead.stage for lead in leads} == {"spam"}
    done("restore", leads)
    assert {lead.stage for lead in leads} == {"new"}


def test_skipped_leads(desk):  # noqa: F811
    fresh, ended = new_lead(1), new_lead(2)
    with transaction():
        service.move_stage(lead_id=ended.id, version=ended.version, to="spam")
        referred = service.get(refer().lead_id)
    run = planned("move", [fresh, ended, referred], to="lost", reason="cost")
    left = {one.why: (one.count, one.example) for one in bulk.summary(run.id).left}
    assert left == {
        "A lead cannot go from “spam” to “lost”.": (1, ended.reference),
        "A referral has no stage “lost”.": (1, referred.reference),
    }
    tried = planned("move", [fresh], to="lost", reason="no_answer")
    assert "Needed before closing as unreachable" in bulk.summary(tried.id).left[0].why


def test_leads_changed_since_are_kept(desk):  # noqa: F811
    one, other = new_lead(1), new_lead(2)
    run = planned("assign", [one, other], owner=str(_me("front_desk")))
    with transaction():
        service.move_stage(lead_id=one.id, version=one.version, to="contacted")
        bulk.start_run(run_id=run.id, user_id=run.user_id)
    assert (one.owner_id, other.owner_id) == (None, _me("front_desk"))
    assert [left.why for left in bulk.summary(run.id).left] == [bulk_actions.CHANGED]
    with transaction():
        service.assign(lead_id=other.id, version=other.version, owner_id=None)
    assert back(run) == {"refused": 1, "kept": 1}
    assert other.owner_id is None


@pytest.mark.parametrize(
    ("act", "form", "field"),
    [
        ("nothing", {}, "act"),
        ("assign", {"owner": "0"}, "owner"),
        ("assign", {"owner": "²"}, "owner"),
        ("move", {"to": "scheduled"}, "to"),
        ("move", {"to": "lost", "reason": "why"}, "reason"),
        ("tag", {"tag": "<b>"}, "tag"),
        ("task", {"title": "", "due_at": "2026-03-05T18:00:00+00:00"}, "title"),
        ("task", {"title": "X", "due_at": "2020-03-05T18:00:00+00:00"}, "due_at"),
        ("task", {"title": "X", "due_at": "soon"}, "due_at"),
    ],
)
def test_invalid_arguments(desk, act, form, field):  # noqa: F811
    lead = new_lead(1)
    with transaction(), pytest.raises(Invalid) as error:
        bulk.plan_run(act=act, form=form, lead_ids=[lead.id], user_id=_me("front_desk"))
    assert set(error.value.fields) == {field}
    assert db.session.scalar(select(func.count()).select_from(BulkRun)) == 0


@pytest.mark.parametrize("ids", [[], [0], range(bulk.MOST + 1)], ids=["none", "unknown", "too many"])
def test_invalid_leads(desk, ids):  # noqa: F811
    with pytest.raises(Invalid), transaction():
        bulk.plan_run(act="spam", form={}, lead_ids=list(ids), user_id=_me("front_desk"))


def test_run_once_own_and_undo_limit(desk, clock):  # noqa: F811
    run = done("spam", [new_lead(1)])
    with pytest.raises(Conflict), transaction():
        bulk.start_run(run_id=run.id, user_id=run.user_id)
    with signed_in(desk.client.application, "clinician").client as other:
        assert other.get(f"/console/leads/bulk/{run.id}").status_code == 404
    clock.shift(bulk.UNDO_WITHIN.total_seconds())
    with pytest.raises(Conflict), transaction():
        bulk.undo_run(run_id=run.id, user_id=run.user_id)


def test_large_run_in_slices(desk, monkeypatch, queued_jobs, clock):  # noqa: F811
    monkeypatch.setattr(bulk, "SLICE", 2)
    leads = [new_lead(number) for number in range(5)]
    run = done("tag", leads, tag="spring")
    assert (run.state, bulk.summary(run.id).done) == ("running", 2)
    assert ("leads.bulk", run.id) in queued_jobs()
    clock.shift(bulk.STALLED.total_seconds() + 1)
    jobs.look_after()
    assert queued_jobs().count(("leads.bulk", run.id)) == 2
    jobs.bulk(run.id)
    assert (run.state, bulk.summary(run.id).done) == ("done", 5)
    jobs.bulk(run.id)  # a second wish finds nothing to do
    assert {one.actor for one in db.session.scalars(select(StageMove)) if one.was} == set()
    with transaction():
        bulk.undo_run(run_id=run.id, user_id=run.user_id)
    jobs.bulk(run.id)
    assert (run.state, bulk.summary(run.id).counts) == ("undone", {"undone": 5})


def test_bulk_pages(desk):  # noqa: F811
    leads = [new_lead(number) for number in range(3)]
    page = desk.get("/console/leads?state=open").text
    assert page.count('name="pick"') == 3
    answer = desk.post(
        "/console/leads/bulk",
        {"act": "assign", "owner": str(_me("front_desk")), "pick": [one.id for one in leads[:2]]}
        | {"back": "/console/leads?state=open"},
    )
    page = desk.get(answer.location).text
    assert "2 leads would change" in page
    do = re.search(r'action="([^"]+/do[^"]*)"', page)[1].replace("&amp;", "&")
    answer = desk.post(do)
    assert answer.location == "/console/leads?state=open"
    page = desk.get(answer.location).text
    assert "2 leads changed." in page
    undo = re.search(r'action="([^"]+/undo[^"]*)"', page)[1].replace("&amp;", "&")
    page = desk.get(desk.post(undo).location).text
    assert "2 leads were restored." in page
    assert [one.owner_id for one in leads] == [None] * 3


def test_all_matching_leads(desk):  # noqa: F811
    wanted = new_lead(1)
    with transaction():
        service.assign(lead_id=new_lead(2).id, version=1, owner_id=_me("front_desk"))
    desk.get("/console/leads")
    desk.post("/console/leads/bulk", {"act": "tag", "tag": "x", "all": "yes", "owner": "nobody"})
    assert db.session.scalars(select(BulkItem.lead_id)).all() == [wanted.id]


def test_no_open_redirect(desk):  # noqa: F811
    lead = new_lead(1)
    desk.get(f"/console/leads/{lead.reference}")
    for wrong in ("https://evil.example/", "//evil.example", "/console/\\evil", "/other"):
        answer = desk.post(
            f"/console/leads/{lead.reference}/stage",
            {"version": version(lead), "to": "contacted", "back": wrong},
        )
        assert answer.status_code == 422, wrong


def test_saved_filters(desk):  # noqa: F811
    desk.get("/console/leads")
    given = {"name": " Mine,  late ", "owner": "me", "state": "overdue", "q": "ruiz"}
    answer = desk.post("/console/leads/filters", given)
    assert answer.status_code == 302
    kept = db.session.scalars(select(SavedFilter)).one()
    assert (kept.name, kept.filters, kept.shared) == (
        "Mine, late",
        {"owner": "me", "state": "overdue"},
        False,
    )
    assert "Mine, late" in desk.get("/console/leads?owner=me&state=overdue").text
    other = signed_in(desk.client.application, "clinician")
    assert "Mine, late" not in other.get("/console/leads").text
    desk.get("/console/leads")
    desk.post("/console/leads/filters", given | {"shared": "yes", "state": "open"})  # the same name: replaced
    assert "by Front_Desk" in other.get("/console/leads").text
    assert other.post(f"/console/leads/filters/{kept.id}/remove").status_code == 404
    desk.get("/console/leads")
    assert desk.post(f"/console/leads/filters/{kept.id}/remove").status_code == 302
    assert db.session.scalars(select(SavedFilter)).all() == []


@pytest.mark.parametrize(
    "given", [{"name": ""}, {"name": "x" * 61}, {"name": "a\0b"}, {"owner": "", "q": "ana"}]
)
def test_invalid_saved_filters(desk, given):  # noqa: F811
    desk.get("/console/leads")
    assert desk.post("/console/leads/filters", {"name": "X", "owner": "me"} | given).status_code == 422


def test_saved_filter_limit(desk, monkeypatch):  # noqa: F811
    monkeypatch.setattr(saved_filters, "MOST", 1)
    with transaction():
        saved_filters.save_filter(
            user_id=_me("front_desk"), name="A", shared=False, filters={"state": "open"}
        )
    with pytest.raises(Conflict), transaction():
        saved_filters.save_filter(
            user_id=_me("front_desk"), name="B", shared=False, filters={"state": "open"}
        )


def test_board(desk, clock):  # noqa: F811
    leads = []
    for number in range(3):
        leads.append(new_lead(number))
        clock.shift(60)
    page = desk.get("/console/leads/board").text
    assert re.findall(r'data-stage="(\w+)"', page) == [
        "new", "unconfirmed", "confirmed", "contacted", "qualified", "consult_scheduled", "consult_done",
    ]  # fmt: skip
    assert re.findall(r"/console/leads/(C-\w+)\"", page) == [one.reference for one in leads]
    desk.post(
        f"/console/leads/{leads[0].reference}/stage",
        {"version": version(leads[0]), "to": "contacted", "back": "/console/leads/board"},
    )
    assert leads[0].stage == "contacted"
    assert desk.get("/console/leads/board?kind=referral").status_code == 200
    assert desk.get("/console/leads/board?owner=me").text.count('class="soft">No leads') == 7
    assert desk.get("/console/leads/board?kind=x").status_code == 422
    assert desk.get("/console/leads/board?stage=new&cursor=zzz").status_code == 422


def test_column_paging(desk, clock, monkeypatch):  # noqa: F811
    monkeypatch.setattr(board, "SHOWN", 2)
    monkeypatch.setattr(board, "COUNTED", 4)
    for number in range(5):
        new_lead(number)
        clock.shift(60)
    seen, cursor = [], None
    while True:
        column = board.load_board("contact_request", stage="new", cursor=cursor)[0]
        assert column.count == "3+"
        seen += [lead.contact.last_name for lead in column.leads]
        cursor = column.next
        if cursor is None:
            break
    assert seen == ["N0", "N1", "N2", "N3", "N4"]


def test_drop_targets():
    for kind, stages in rules.STAGES.items():
        for stage in stages:
            for to in board.drop_targets(Lead(kind=kind, stage=stage)):
                assert rules.move_refusal(kind=kind, was=stage, to=to) is None
                assert to not in bulk_actions.VISIT_STAGES


def test_inbox(desk, clock, redis):  # noqa: F811
    with transaction():
        support_factories.shipped()
    first, second = new_lead(1), new_lead(2, language="es")
    page = desk.get("/console/leads/inbox").text
    assert page.index(first.reference) < page.index(second.reference)
    assert second.reference in desk.get("/console/leads/inbox?tab=nobody").text
    desk.post(
        f"/console/leads/{first.reference}/take", {"version": version(first), "back": "/console/leads/inbox"}
    )
    assert first.reference in desk.get("/console/leads/inbox?tab=mine").text
    answer = desk.post(f"/console/leads/{second.reference}/answer", {"answer": "answer-please-call"})
    assert answer.status_code == 302
    sent = db.session.scalars(select(Message.contact_id).order_by(Message.id)).all()
    assert sent[-1] == second.contact_id
    assert (second.attempts, second.first_human_touch_at is not None) == (1, True)
    answer = desk.post(f"/console/leads/{second.reference}/close", {"version": version(second), "as": "spam"})
    assert f"{second.reference} ·" not in desk.get("/console/leads/inbox").text
    assert second.reference in desk.get("/console/leads?stage=spam").text
    desk.post(f"/console/leads/{second.reference}/reopen?version={version(second)}")
    assert second.stage == "new"
    desk.post(f"/console/leads/{first.reference}/close", {"version": version(first), "as": "lost:cost"})
    assert (first.stage, first.reason) == ("lost", "cost")
    desk.post(f"/console/leads/{first.reference}/reopen?version={version(first)}")
    assert first.stage == "contacted"
    assert desk.get("/console/leads/inbox?tab=x").status_code == 422
    for wrong in ({"as": ""}, {"as": "patient"}):
        assert desk.post(f"/console/leads/{first.reference}/close", wrong).status_code == 422
    assert desk.post(f"/console/leads/{first.reference}/answer", {"answer": "x"}).status_code == 422


def test_reply_needs_approved_text(desk):  # noqa: F811
    lead = new_lead(1)
    desk.get(f"/console/leads/{lead.reference}")
    answer = desk.post(f"/console/leads/{lead.reference}/answer", {"answer": "answer-please-call"})
    assert answer.status_code == 409
    assert (lead.attempts, db.session.scalars(select(Message)).all()) == (0, [])


def test_reply_refusals(desk):  # noqa: F811
    by_form = new_lead(1)
    no_email = new_lead(2, email=None)
    with transaction():
        referred = service.get(refer().lead_id)
        stopped = new_lead(3)
        service.move_stage(lead_id=stopped.id, version=stopped.version, to="spam")
    assert replies.refusal(by_form) is None
    assert "no email address" in replies.refusal(no_email)
    assert "Only contact requests" in replies.refusal(referred)
    assert "is closed" in replies.refusal(stopped)
    referred.contact_id, by_form.contact_id = by_form.contact_id, referred.contact_id
    db.session.flush()
    by_form.contact_id = referred.contact_id
    db.session.flush()
    db.session.refresh(by_form)
    assert "referred to us" in replies.refusal(by_form)


def test_inbox_messages_by_role(desk):  # noqa: F811
    lead = new_lead(1)
    lead.message = "My knee hurts"
    db.session.flush()
    assert "My knee hurts" in desk.get("/console/leads/inbox").text
    other = signed_in(desk.client.application, "marketer")
    assert "My knee hurts" not in other.get("/console/leads/inbox").text


def test_tags(desk):  # noqa: F811
    lead = new_lead(1)
    address = f"/console/leads/{lead.reference}"
    desk.get(address)
    assert desk.post(f"{address}/tags", {"tag": " Spring "}).status_code == 302
    assert "Remove the tag spring" in desk.get(address).text
    assert desk.post(f"{address}/tags", {"tag": "<b>"}).status_code == 422
    desk.post(f"{address}/tags", {"off": "spring"})
    assert db.session.scalars(select(Tag.tag)).all() == []


@pytest.mark.parametrize("address", ["/console/leads/board", "/console/leads/inbox", "/console/leads"])
def test_statement_count_of_pages(desk, clock, statements, address):  # noqa: F811
    new_lead(1)
    desk.get(address)
    db.session.expire_all()
    with statements() as one:
        desk.get(address)
    new_lead(2)
    new_lead(3)
    db.session.expire_all()
    with statements() as three:
        desk.get(address)
    assert looks(one) == looks(three) <= 14


def test_statement_count_of_actions(desk, statements):  # noqa: F811
    leads, me = [new_lead(number) for number in range(4)], _me("front_desk")
    totals = []
    for part in ([leads[0].id], [lead.id for lead in leads[1:]]):
        db.session.expire_all()
        with statements() as counted, transaction():
            bulk.plan_run(act="tag", form={"tag": "x"}, lead_ids=part, user_id=me)
        totals.append(looks(counted))
    assert totals[0] == totals[1]


def test_id_limit(desk):  # noqa: F811
    for number in range(3):
        new_lead(number)
    assert len(desk_search.find_lead_ids(desk_search.LeadFilter(), limit=2)) == 2


def test_assignment_by_state(edge):
    everywhere, nevada = member("front_desk"), member("clinician")
    assignment.set_assignee(user_id=everywhere.id)
    assignment.set_assignee(user_id=nevada.id, states=["NV", "UT"])
    owners = [new_lead(number, state=state).owner_id for number, state in enumerate(["CA", "NV", None, "UT"])]
    assert owners == [everywhere.id, nevada.id, everywhere.id, nevada.id]
    with pytest.raises(Invalid):
        assignment.set_assignee(user_id=nevada.id, states=["XX"])
