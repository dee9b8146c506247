"""Drafts of a sequence as staff with a browser see them: without JavaScript, every act is a form."""

import html
import re

import pytest
from sqlalchemy import select

from crm.core.db import db, transaction
from crm.segments import service as segments
from crm.segments.rules import Condition
from crm.sequences import drafts, queries
from crm.sequences.models import EmailSequence
from jobs.sequences import publish
from tests.support import factories
from tests.support.browser_client import BrowserClient, member, signed_in

NEW = "news/seventh"


@pytest.fixture
def page(outbox) -> str:
    with transaction():
        factories.extra_email(NEW)
        factories.opted_in(factories.contact())
    found = db.session.scalars(select(EmailSequence.id).where(EmailSequence.key == "contact-request")).one()
    return f"/console/sequences/{found}/draft"


@pytest.fixture
def marketer(client, page):
    visitor = signed_in(client.application, "marketer")
    visitor.get(page.removesuffix("/draft"))
    assert visitor.post(page).status_code == 302
    return visitor


def text(answer) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def send(visitor, page: str, act: str, **fields):
    base = re.search(r'name="base" value="(\d+)"', visitor.get(page).text)[1]
    return visitor.post(f"{page}/{act}", {"base": base, **fields})


ADDED = {"item": NEW, "after": "5", "amount": "4", "unit": "days"}


def test_from_the_first_edit_to_the_new_version(marketer, page, clock, client):
    assert send(marketer, page, "add", **ADDED).status_code == 302
    assert "8. A seventh email (en) + New" in text(marketer.get(page))
    assert send(marketer, page, "steps/102/up").location.endswith("/draft#step-102")
    assert send(marketer, page, "steps/1/wait", amount="5", unit="days").status_code == 302
    assert send(marketer, page, "steps/2/remove").status_code == 302
    undo = re.search(r'action="([^"]*/draft/undo[^"]*)"', marketer.get(page).text)[1]
    assert marketer.post(html.unescape(undo)).status_code == 302
    shown = text(marketer.get(page))
    assert "New wait" in shown
    assert "Removed:" not in shown
    assert send(marketer, page, "people", people="move").status_code == 302
    mine = text(marketer.get(f"{page}/review"))
    assert "Move. Same next email at the same time. They also get: “A seventh email (en)”." in mine
    assert "another person has to publish it" in mine
    assert send(marketer, page, "publish").status_code == 403
    second = BrowserClient(client.application).sign_in(member("admin", name="Ben"))
    second.get(f"{page}/review")
    base = drafts.current(int(page.split("/")[-2])).lock
    assert second.post(f"{page}/publish", {"base": base}).status_code == 302
    assert "takes effect at" in text(second.get(f"{page}/review"))
    assert second.post(f"{page}/undo-publishing", {"base": base + 1}).status_code == 302
    assert second.post(f"{page}/publish", {"base": base + 2}).status_code == 302
    clock.shift(drafts.UNDO_WITHIN)
    publish()
    assert second.get(page).status_code == 404
    assert "7. " in text(second.get(page.removesuffix("/draft")))
    assert queries.newest_version(int(page.split("/")[-2])).number == 2


def test_a_segment_can_start_a_sequence(marketer, page):
    with transaction():
        first = segments.save(name="VIP", rule=Condition("tag", ("vip",)))
    assert send(marketer, page, "start", starts=str(first.id)).status_code == 302
    assert "Who starts has changed." in text(marketer.get(f"{page}/review"))
    with transaction():
        segments.save(name="VIP", rule=Condition("tag", ("gold",)), segment_id=first.segment_id, base=1)
    assert "VIP (earlier rule)" in text(marketer.get(page))
    send(marketer, page, "start", starts="99")
    assert "Choose a segment from the list." in text(marketer.get(page))
    send(marketer, page, "start", starts="")
    assert "Who starts has changed." not in text(marketer.get(f"{page}/review"))


@pytest.mark.parametrize(
    ("act", "fields", "said"),
    [
        ("add", ADDED | {"amount": "soon"}, "Enter a whole number of days"),
        ("add", ADDED | {"item": "nothing"}, "Choose an approved email"),
        ("steps/1/wait", {"amount": "900", "unit": "days"}, "0 to 365"),
    ],
)
def test_mistakes_are_shown_at_their_field(marketer, page, act, fields, said):
    answer = send(marketer, page, act, **fields)
    assert answer.status_code == 422
    assert said in text(answer)
    assert f'value="{fields["amount"]}"' in answer.text  # what was typed stays


@pytest.mark.parametrize(
    "act", ["add", "steps/1/up", "steps/1/wait", "steps/1/remove", "undo", "people", "discard"]
)
def test_a_page_that_is_out_of_date_is_refused(marketer, page, act):
    answer = marketer.post(f"{page}/{act}", ADDED | {"base": "77", "people": "move"})
    assert answer.status_code == 302
    assert "Another person changed this draft" in text(marketer.get(answer.location))


def test_a_discarded_draft_changes_nothing(marketer, page):
    assert send(marketer, page, "discard").status_code == 302
    assert marketer.get(page).status_code == 404
    assert queries.newest_version(int(page.split("/")[-2])).number == 1


def test_a_branch_with_an_exit_is_built_with_forms(marketer, page):
    with transaction():
        segment = segments.save(name="VIP", rule=Condition("tag", ("vip",)))
    asked = {"question": "answer:not_now", "about": "0", "after": "0", "amount": "2", "unit": "days"}
    assert send(marketer, page, "add/branch", **asked).status_code == 302
    shown = text(marketer.get(page))
    assert "2. Branch: Did they answer “Not now” to “" in shown
    assert "Both ways are the same." in shown
    assert "No email before it has a button for this answer" in shown
    assert send(marketer, page, "add/ending", kind="exit", name="Not now", after="102.yes").status_code == 302
    assert send(marketer, page, "add/wait", amount="1", unit="weeks", after="102.no").status_code == 302
    asked |= {"question": f"segment:{segment.id}", "about": "", "after": "104"}
    assert send(marketer, page, "add/branch", **asked).status_code == 302
    assert send(marketer, page, "add", **ADDED | {"after": "105.no"}).status_code == 302
    shown = text(marketer.get(page))
    assert "2 yes · 1. Exit: Not now" in shown
    assert "2 no · 2. Branch: Are they in the segment “VIP”?" in shown
    assert "2 no · 2 no · 1. A seventh email (en) + New" in shown
    assert "Nobody comes here" not in shown
    assert "Both ways are the same." not in shown
    assert "2 yes · 1. Exit: Not now" in text(marketer.get(f"{page}/review"))
    assert send(marketer, page, "steps/102/remove").status_code == 302
    assert text(marketer.get(page)).count("Branch:") == 1  # the shipped one


@pytest.mark.parametrize(
    ("act", "fields", "said"),
    [
        ("add/branch", {"question": "answer:call"}, "Choose what the branch asks."),  # nobody would take it
        ("add/branch", {"question": "segment:999"}, "Choose what the branch asks."),
        ("add/branch", {"question": "answer:guide", "amount": "x"}, "Enter a whole number"),
        ("add/split", {"percent": "0"}, "Enter a whole number from 1 to 99."),
        ("add/split", {"percent": "100"}, "Enter a whole number from 1 to 99."),
        ("add/wait", {"amount": "0"}, "Enter at least 1."),
        ("add/wait_for", {"question": "booked", "amount": "0"}, "Enter at least 1."),
        ("add/wait_for", {"question": "delivered"}, "Choose the email."),
        ("add/wait_for", {"question": "stage:lost"}, "Choose what to wait for."),  # it ends sequences
        ("add/wait_for", {"question": "segment:1"}, "Choose what to wait for."),
        ("add/ending", {"kind": "dance", "name": "x"}, "Choose a goal, an exit or an end."),
        ("add/ending", {"kind": "goal", "name": " "}, "Give it a name"),
    ],
)
def test_what_a_part_needs(marketer, page, act, fields, said):
    given = {"after": "0", "amount": "1", "unit": "days"} | fields
    answer = send(marketer, page, act, **given)
    assert (answer.status_code, said in text(answer)) == (422, True)


def test_a_part_after_an_end_is_shown_as_unreachable_and_blocks(marketer, page):
    assert send(marketer, page, "add/ending", kind="end", name="Over", after="0").status_code == 302
    shown = text(marketer.get(page))
    assert shown.count("Nobody comes here: every way before it ends.") == 7
    assert "cannot be published yet" in text(marketer.get(f"{page}/review"))
    for place in ("x", "5.maybe", "999"):
        send(marketer, page, "add/ending", kind="end", name="Over", after=place)
        assert "no longer in the draft" in text(marketer.get(page))


def test_a_split_is_built_rehearsed_and_reviewed(marketer, page):
    given = {"percent": "30", "after": "0", "amount": "0", "unit": "days"}
    assert send(marketer, page, "add/split", **given).status_code == 302
    assert "Both ways are the same." in text(marketer.get(page))
    assert send(marketer, page, "add", **ADDED | {"after": "102.yes"}).status_code == 302
    shown = text(marketer.get(page))
    assert "2. Split: 30% go way A, 70% way B" in shown
    assert "Way A: 30% of people 2 A · 1. A seventh email (en) + New" in shown
    assert "Way B: 70% of people Nothing: they continue with what follows." in shown
    assert "Both ways are the same." not in shown
    review = text(marketer.get(f"{page}/review"))
    assert "2. Split: 30% go way A, 70% way B at once after the email before + New" in review
    assert "Goes way A of every split" in review
    assert "Would go way B (30% go way A, 70% way B)" in text(marketer.get(f"{page}/rehearse"))
    rehearsed = text(marketer.get(f"{page}/rehearse?drawn=102"))
    assert "Would go way A (30% go way A, 70% way B)" in rehearsed
    assert "Gets “A seventh email (en)”" in rehearsed


def test_a_wait_for_is_built_rehearsed_and_reviewed(marketer, page):
    given = {"question": "answer:guide", "about": "0", "after": "0", "amount": "7", "unit": "days"}
    assert send(marketer, page, "add/wait_for", **given).status_code == 302
    assert send(marketer, page, "add", **ADDED | {"after": "102.yes"}).status_code == 302
    for fact in ("delivered", "booked", "stage:qualified"):
        added = given | {"question": fact, "after": "102"}
        assert send(marketer, page, "add/wait_for", **added).status_code == 302
    shown = text(marketer.get(page))
    assert "2. Wait for: They answer “Send me the guide” to “" in shown
    assert "at most 7 days · People waiting for it now: 0" in shown
    assert "If it happens in time 2 yes · 1. A seventh email (en) + New" in shown
    assert "If time runs out Nothing: they continue with what follows." in shown
    assert "” is delivered" in shown
    assert "Wait for: They come to the stage “qualified”" in shown
    assert "Nobody takes the way “yes”: a booking ends this sequence." in shown
    assert "at most 7 days + New" in text(marketer.get(f"{page}/review"))
    rehearsed = text(marketer.get(f"{page}/rehearse?email0=0&answer0=guide&hours0=5"))
    assert "Waits for this: They answer “Send me the guide” to “" in rehearsed
    assert "It happened: They answer “Send me the guide” to “" in rehearsed
    early = rehearsed.split("It happened:")[1].split("Waits for this:")[0]
    assert "right after its wait" not in early.split("Gets “")[0]  # the wait was not over
    assert "Time ran out: They come to the stage “qualified”" in rehearsed
