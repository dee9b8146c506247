"""The rehearsal page, as a marketer without JavaScript uses it."""

import pytest

from crm.core.db import transaction
from crm.core.errors import Conflict
from crm.sequences import drafts
from crm.sequences.simulator import Problem
from tests.sequences.test_console_drafts import marketer, page, send, text

__all__ = ["marketer", "page"]

BRANCH = {"question": "answer:not_now", "about": "0", "after": "0", "amount": "2", "unit": "days"}


def test_every_date_has_its_reason(marketer, page):
    send(marketer, page, "add/branch", **BRANCH)
    send(marketer, page, "add/ending", kind="exit", name="Not now", after="102.yes")
    friday = "entered=2026-03-06T19:00&zone=America/New_York"
    shown = text(marketer.get(f"{page}/rehearse?{friday}"))
    assert "Fri, 6 Mar 2026, 7:00 PM Starts the sequence" in shown
    assert "moved to the next time at which emails may be sent" in shown
    assert "Way: no" in shown
    assert "Finishes the sequence" in shown
    shown = text(marketer.get(f"{page}/rehearse?{friday}&email0=0&answer0=not_now&hours0=5"))
    assert "Presses “Not now” in “" in shown
    assert "Ends: “Not now”" in shown
    assert "an appointment was booked" in text(marketer.get(f"{page}/rehearse?{friday}&books=3"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("entered=yesterday", "Enter a day and a time."),
        ("books=-1", "Enter a whole number from 0 to 3650."),
        ("email0=0&answer0=call&hours0=x", "Enter a whole number from 0 to 2000."),
    ],
)
def test_what_a_rehearsal_needs(marketer, page, given, said):
    answer = marketer.get(f"{page}/rehearse?{given}")
    assert (answer.status_code, said in text(answer)) == (422, True)


def test_a_rehearsal_with_a_fault_blocks_publishing(marketer, page, monkeypatch):
    send(marketer, page, "add", item="news/seventh", after="5", amount="4", unit="days")
    review = text(marketer.get(f"{page}/review"))
    assert "Asks for a call 1 Exits the sequence" in review
    monkeypatch.setattr("crm.sequences.simulator.problems", lambda *_: frozenset({Problem.TWICE}))
    assert "gets an email twice" in text(marketer.get(f"{page}/review"))
    sequence_id = int(page.split("/")[-2])
    with transaction(), pytest.raises(Conflict, match="rehearsal"):
        drafts.approve(sequence_id, base=drafts.current(sequence_id).lock)
