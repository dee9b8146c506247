"""iCalendar files: one UID, a SEQUENCE that only rises, no names."""

from crm.audit import acts
from crm.consultations import ical, queries
from crm.consultations import service as consultations
from crm.core import current
from crm.core.db import db
from tests.consultations.test_service import HOUR, SOON, book
from tests.leads.test_service import lead  # noqa: F401 - fixture


def text_of(*shown):
    return ical.calendar_file(
        shown, sequences=queries.sequences([one.lead_id for one in shown]), settings=current.settings()
    )


def value(text, name):
    return next(line.partition(":")[2] for line in text.split("\r\n") if line.startswith(name + ":"))


def test_calendar_file(lead):  # noqa: F811
    made = book(lead, minutes=90)
    text = text_of(made)
    lines = text.split("\r\n")
    assert "DTSTART:20260305T180000Z" in lines
    assert "DTEND:20260305T193000Z" in lines
    assert f"SUMMARY:Consultation {lead.reference}" in lines
    assert "Ana" not in text
    assert "LOCATION:Pacific Pain & Wellness Group\\, 100 Example Street\\, Suite 200\\," in text
    assert max(len(line.encode()) for line in lines) <= 75
    made.state = "cancelled"
    assert value(text_of(made), "STATUS") == "CANCELLED"


def test_one_uid_and_a_rising_sequence(lead, redis):  # noqa: F811
    seen = []

    def note():
        text = text_of(consultations.consultations_of(lead.id)[0])
        seen.append((value(text, "UID"), int(value(text, "SEQUENCE"))))

    first = book(lead)
    note()
    with acts.begin("rebook", lead_id=lead.id) as act:
        second = consultations.rebook(consultation_id=first.id, starts_at=SOON + HOUR)
    note()
    assert int(value(text_of(first), "SEQUENCE")) < seen[-1][1]  # the file of the earlier time
    consultations.undo_act(act.id, lead_id=lead.id)
    db.session.expunge(second)
    note()
    consultations.rebook(consultation_id=first.id, starts_at=SOON + 2 * HOUR)
    note()
    booked = consultations.booked_consultation(lead.id)
    with acts.begin("consultation", lead_id=lead.id) as act:
        consultations.finish(consultation_id=booked.id, state="cancelled", version=lead.version)
    note()
    consultations.undo_act(act.id, lead_id=lead.id)
    note()
    assert len({uid for uid, _ in seen}) == 1
    numbers = [number for _, number in seen]
    assert numbers == sorted(set(numbers))


def test_long_lines_are_folded(lead):  # noqa: F811
    made = book(lead)
    sequences = queries.sequences([lead.id])
    text = ical.calendar_file([made], sequences=sequences, settings=current.settings(), name="é" * 80)
    assert max(len(line.encode()) for line in text.split("\r\n")) <= 75
