"""Files of people coming in: through the browser and the worker's job, with everything a file can hold."""

import csv
import io
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from crm.audit.models import AuditEntry
from crm.consent import service as consent
from crm.consent.models import ConsentRecord, Suppression
from crm.contacts import service as contacts
from crm.contacts.models import Activity, Contact
from crm.core import csv_files
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid
from crm.duplicates import service as duplicates
from crm.imports import rules, service
from crm.imports.models import ImportPart, ImportRun
from crm.leads import assignment
from crm.leads.models import Lead
from crm.staff.models import Alert
from jobs import interop as jobs
from tests.support import factories as support_factories
from tests.support.browser_client import member, signed_in

HEAD = "First name,Last name,Email,Phone,Message\n"


@pytest.fixture
def desk(client, database):
    return SimpleNamespace(id=member("front_desk", email="desk@clinic.example").id)


def file(text, encoding="utf-8"):
    return io.BytesIO(text if isinstance(text, bytes) else text.encode(encoding))


def uploaded(desk, text, *, kind="contacts", encoding="utf-8"):
    with transaction():
        return service.upload(file=file(text, encoding), name="people.csv", kind=kind, user_id=desk.id).id


def checked(desk, text, **options):
    run_id = uploaded(desk, text, **options)
    with transaction():
        service.check(run_id=run_id, mapping=service.get(run_id).mapping, user_id=desk.id)
    jobs.work(run_id)
    return service.get(run_id)


def imported(desk, text, **options):
    run_id = checked(desk, text, **options).id
    with transaction():
        service.start(run_id=run_id)
    jobs.work(run_id)
    return service.get(run_id)


def counts(run):
    return run.state, run.rows, run.new, run.known, run.duplicates, run.errors


def count(model):
    return db.session.scalar(select(func.count()).select_from(model))


def rows(number, start=0):
    return HEAD + "".join(f"Ana,Ruiz,ana{n}@example.test,,Hello {n}\n" for n in range(start, start + number))


def test_a_dry_run_counts_and_writes_nothing(desk):
    support_factories.contact("known@example.test", first_name="Kim", last_name="Known")
    text = HEAD + (
        "Kim,Known,known@example.test,,\n"
        "Ana,Ruiz,ana@example.test,,\n"
        "Ana,Ruiz,ANA@example.test,,\n"
        "=cmd(),,x@example.test,,\n"
    )
    before = count(Contact)
    run = checked(desk, text)
    assert counts(run) == ("checked", 4, 1, 1, 1, 1)
    assert count(Contact) == before


@pytest.mark.parametrize("kind", ["contacts", "leads"])
def test_an_import_does_what_its_dry_run_said(desk, kind):
    text = (
        HEAD + "Ana,Ruiz,ana@example.test,,Hi\nAna,Ruiz,ana@example.test,,Hi\nBo,Li,,2135550143,Yo\nx,,,,\n"
    )
    dry = counts(checked(desk, text, kind=kind))
    run = imported(desk, text, kind=kind)
    assert counts(run)[1:] == dry[1:] == (4, 2, 0, 1, 1)
    assert count(Lead) == (2 if kind == "leads" else 0)
    assert (
        contacts.as_person(db.session.scalars(select(Contact).where(Contact.last_name == "Li")).one()).phone
        == "+12135550143"
    )


def test_again_everybody_is_known(desk):
    imported(desk, rows(3), kind="leads")
    again = imported(desk, rows(3), kind="leads")
    assert counts(again) == ("done", 3, 0, 0, 3, 0)


def test_nobody_is_subscribed_by_a_file(desk):
    with transaction():
        who = support_factories.contact("stopped@example.test", first_name="Sam", last_name="Stop")
        support_factories.opted_in(who)
        consent.withdraw(contact_id=who.id, topic=None, source="one_click")
    before = count(ConsentRecord), count(Suppression)
    text = (
        "First name,Last name,Email,Consent,Subscribed\n"
        "Sam,Stop,stopped@example.test,yes,true\nAna,New,new@example.test,yes,true\n"
    )
    assert counts(imported(desk, text, kind="leads"))[2:4] == (1, 1)
    assert (count(ConsentRecord), count(Suppression)) == before
    assert db.session.scalars(select(Suppression.lifted_at)).one() is None


def test_undo_removes_all_but_what_staff_worked_on(desk):
    before = count(Contact)
    run = imported(desk, rows(3), kind="leads")
    worked_on = db.session.scalars(select(Lead).order_by(Lead.id)).first()
    with transaction():
        contacts.record_activity(
            contact_id=worked_on.contact_id, lead_id=worked_on.id, kind="note", text="Called"
        )
    with transaction():
        service.request_undo(run_id=run.id)
    jobs.work(run.id)
    run = service.get(run.id)
    # the note was made by the system here, which alone keeps nothing
    assert (run.state, run.kept, count(Contact) - before, count(Lead)) == ("undone", 0, 0, 0)
    assert count(Activity) == 0


def test_what_staff_worked_on_stays(desk):
    from crm.audit import service as audit

    run = imported(desk, rows(2), kind="leads")
    lead = db.session.scalars(select(Lead).order_by(Lead.id)).first()
    with transaction(), audit.acting(f"staff:{desk.id}"):
        contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="note", text="Called")
        service.request_undo(run_id=run.id)
    jobs.work(run.id)
    assert (service.get(run.id).kept, count(Lead), count(Contact)) == (2, 1, 1)


def test_after_a_day_it_is_too_late(desk, clock):
    run = imported(desk, rows(1))
    clock.shift(25 * 3600)
    with pytest.raises(Conflict, match="24 hours"), transaction():
        service.request_undo(run_id=run.id)


def test_an_interrupted_import_resumes(desk, monkeypatch):
    run_id = checked(desk, rows(2500)).id
    with transaction():
        service.start(run_id=run_id)
    write, calls = service._import_batch, []

    def falls_over(*given):
        calls.append(1)
        if len(calls) == 2:
            raise ConnectionError
        write(*given)

    monkeypatch.setattr(service, "_import_batch", falls_over)
    with pytest.raises(ConnectionError):
        jobs.work(run_id)
    assert service.get(run_id).done == 1000
    jobs.work(run_id)
    assert counts(service.get(run_id)) == ("done", 2500, 2500, 0, 0, 0)


def test_a_thousand_rows_take_as_many_statements_as_one(desk, statements):
    totals = []
    for number in (1, 1000):
        run_id = checked(desk, rows(number, start=number * 10), kind="leads").id
        with transaction():
            service.start(run_id=run_id)
        with statements() as counted:
            jobs.work(run_id)
        totals.append(counted.total)
    assert totals[0] == totals[1]
    assert totals[0] <= 45


def test_every_thousand_rows_take_as_many_statements_more(desk, statements, monkeypatch):
    monkeypatch.setattr(service, "AT_ONCE", 100)  # a thousand on paper
    totals = []
    for number in (100, 200, 300):
        run_id = checked(desk, rows(number, start=number * 10), kind="leads").id
        with transaction():
            service.start(run_id=run_id)
        with statements() as counted:
            jobs.work(run_id)
        totals.append(counted.total)
    assert totals[2] - totals[1] == totals[1] - totals[0] <= 16


def test_a_thousand_people_are_made_under_one_lock(desk):
    held = text("select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()")
    before = db.session.scalar(held)
    imported(desk, rows(1000), kind="leads")
    assert db.session.scalar(held) <= before + 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_encodings_and_delimiters(desk, encoding, delimiter):
    text = "Nombre,Apellido,Correo\r\nJosé,Muñoz,jose@example.test\r\n".replace(",", delimiter)
    assert counts(imported(desk, text, encoding=encoding)) == ("done", 1, 1, 0, 0, 0)
    assert db.session.scalars(select(Contact.first_name)).one() == "José"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (HEAD.encode(), "no rows"),
        (b"a,b\n1,\0", "not a text file"),
        (b"PK\x03\x04\x00\x00\x00\x00rest", "not a text file"),
        (",".join(["x"] * 10_000).encode() + b"\n1\n", "10,000 columns"),
        (b"a,b\n" + b"x" * rules.MOST_BYTES, "larger than 50 MB"),
    ],
    ids=["empty", "header", "nul", "zip", "columns", "size"],
)
def test_files_that_are_none_leave_nothing(desk, content, words):
    with pytest.raises(Invalid) as refused, transaction():
        service.upload(file=file(content), name="x.csv", kind="contacts", user_id=desk.id)
    assert words in " ".join(refused.value.fields["file"])
    assert count(ImportRun) == count(ImportPart) == 0


def test_fifty_megabytes_are_kept_encrypted(desk):
    text = HEAD.encode() + b"Ana,Ruiz,ana@example.test,,secret words\n" * 1_290_000
    run_id = uploaded(desk, text)
    assert service.get(run_id).rows == 1_290_000
    first = db.session.scalar(select(ImportPart.content).where(ImportPart.run_id == run_id).limit(1))
    assert b"secret words" not in first


def test_an_open_quote_costs_one_row(desk):
    text = HEAD + 'Ana,Ruiz,a@example.test,,"Hello\n' + "".join(
        f"Bo,Li,bo{n}@example.test,,Hi\n" for n in range(500)
    )  # fmt: skip
    run = imported(desk, text)
    assert counts(run) == ("done", 501, 500, 0, 0, 1)
    (_, refused) = service.problems(run.id)
    assert refused[0] == "2"
    assert "quotation mark" in refused[1]
    assert refused[2:] == ["Ana", "Ruiz", "a@example.test", "", '"Hello']


def test_no_row_of_a_file_vanishes(desk):
    long = "x" * 10_001
    text = HEAD + (
        "Ana,Ruiz,ana@example.test,,pain, back and knee\n"
        "Bo,Li,bo@example.test,,Hi,,\n"
        "Cy,Po,,12\n"
        f"Di,Vo,di@example.test,12,{long}\n"
        "Bo,Li,bo@example.test,,Hi\n"
        "\n"
        "Peter,Vance,none@none.com,,\n"
        "Solo,,solo@example.test\n"
    )
    run = imported(desk, text, kind="leads")
    assert counts(run) == ("done", 7, 3, 0, 1, 3)
    listed = {row[0]: row for row in list(service.problems(run.id))[1:]}
    assert list(listed) == ["2", "4", "5", "6", "8"]
    assert "more cells than the header" in listed["2"][1]
    assert listed["2"][-2:] == ["pain", " back and knee"]
    assert "This row goes in without what cannot be read: Phone:" in listed["5"][1]
    assert listed["5"][-1] == long
    assert "the same as row 3" in listed["6"][1]
    assert "reaches nobody" in listed["8"][1]
    noted = db.session.scalars(select(Activity.text).where(Activity.text.is_not(None))).all()
    assert len(noted) == 1
    assert noted == ["Could not read: Phone “12”; Message “" + "x" * 2000 + "”"]


def test_another_name_on_one_mailbox_is_a_record_of_its_own(desk):
    text = (
        "First name,Last name,Email\nRobert,Smith,home@example.test\nLinda,Smith,home@example.test\n"
        "Tom,Nguyen,home@example.test\n"
    )
    assert counts(imported(desk, text)) == ("done", 3, 3, 0, 0, 0)
    marks = select(Activity).where(Activity.kind == "possible_duplicate")
    assert len(db.session.scalars(marks).all()) == 2
    assert counts(imported(desk, text))[2:] == (0, 3, 0, 0)


@pytest.mark.parametrize("at_once", [1, 1000])
def test_two_requests_of_one_new_person_are_one_contact(desk, monkeypatch, at_once):
    monkeypatch.setattr(service, "AT_ONCE", at_once)
    text = HEAD + (
        "Ana,Ruiz,ana@example.test,2135550142,My back\n"
        "Ana,Ruiz,ANA@example.test,2135550199,My neck\n"
        "Ana,Ruiz,ana@example.test,,My back\n"
    )
    assert counts(checked(desk, text, kind="leads")) == ("checked", 3, 1, 1, 1, 0)
    assert counts(imported(desk, text, kind="leads")) == ("done", 3, 1, 1, 1, 0)
    [ana] = db.session.scalars(select(Contact))
    assert {(lead.contact_id, lead.message) for lead in db.session.scalars(select(Lead))} == {
        (ana.id, "My back"), (ana.id, "My neck"),
    }  # fmt: skip
    [told] = db.session.scalars(select(Activity).where(Activity.kind == "told_otherwise"))
    assert told.text == "phone: +12135550199"


def test_what_differs_from_a_known_person_is_a_note(desk):
    known = support_factories.contact(
        "kim@example.test", first_name="Kim", last_name="Known", phone="+12135550142"
    )
    text = HEAD + "Kim,Known,kim@example.test,2135550199,Call in the evening\n"
    assert counts(imported(desk, text))[2:4] == (0, 1)
    notes = {
        note.kind: note.text
        for note in db.session.scalars(select(Activity).where(Activity.contact_id == known.id))
        if note.text
    }
    assert notes == {"told_otherwise": "phone: +12135550199", "imported": "Call in the evening"}
    assert contacts.as_person(contacts.get(known.id)).phone == "+12135550142"


def test_imported_leads_get_owners_by_the_rule(desk):
    with transaction():
        other = member("front_desk", email="other@clinic.example").id
        assignment.set_assignee(user_id=desk.id, capacity=1)
        assignment.set_assignee(user_id=other, languages=["es"])
    text = HEAD.replace("Message", "Message,Language") + (
        "Ana,Ruiz,ana@example.test,,Hi,en\nBo,Li,bo@example.test,,Hi,es\nCy,Po,cy@example.test,,Hi,en\n"
    )
    imported(desk, text, kind="leads")
    owners = db.session.scalars(select(Lead.owner_id).order_by(Lead.id)).all()
    assert owners == [desk.id, other, None]


@pytest.mark.parametrize("kind", ["contacts", "leads"])
def test_a_crisis_in_a_file_alerts_staff(desk, kind):
    imported(desk, HEAD + "Ana,Ruiz,ana@example.test,,I want to kill myself\n", kind=kind)
    (alert,) = db.session.scalars(select(Alert)).all()
    assert alert.level == "danger"
    assert "crisis" in alert.text


TABLES = st.lists(
    st.lists(
        st.sampled_from(["Ana", "Bo", "", "a@x.example", "b@x.example", "none@none.com", '"Ruiz', 'say "hi"', "x\ny", "; , |",
                         "2135550142", "1970-05-17", "N/A"]),
        max_size=7,
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    table=TABLES,
    delimiter=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    quoted=st.booleans(),
    kind=st.sampled_from(["contacts", "leads"]),
)
def test_every_row_of_any_file_is_stored_or_listed(desk, table, delimiter, encoding, quoted, kind):
    header = ["First name", "Last name", "Email", "Phone", "Date of birth"]
    written = io.StringIO(newline="")
    if quoted:
        csv.writer(written, delimiter=delimiter).writerows([header, *table])
    else:
        written.write("".join(delimiter.join(row) + "\n" for row in [header, *table]))
    content = written.getvalue().encode(encoding)
    if not any(cell.strip() for row in table for cell in row):
        return
    before = count(Contact)
    run = imported(desk, content, kind=kind)
    found = csv_files.detect([content], most_bytes=rules.MOST_BYTES)
    rows = list(csv_files.read_rows(io.BytesIO(content), encoding=found.encoding, delimiter=found.delimiter))
    assert run.state == "done"
    assert run.rows == len(rows) == run.new + run.known + run.duplicates + run.errors
    assert count(Contact) - before == run.new
    listed = list(service.problems(run.id))[1:]
    assert len(listed) >= run.duplicates + run.errors
    cells = {str(row.number): row.cells for row in rows}
    assert all(row[2:] == cells[row[0]] for row in listed)


def test_what_was_refused_comes_back_with_words_and_no_formula(desk):
    run = checked(desk, HEAD + "=cmd(),Ruiz,x@example.test,,@SUM(A1)\n")
    lines = list(csv.reader(io.StringIO("".join(csv_files.csv_lines(service.problems(run.id))))))
    assert lines[0][:2] == ["Line", "Problem"]
    assert lines[1][0] == "2"
    assert "First name" in lines[1][1]
    assert (lines[1][2], lines[1][6]) == ("'=cmd()", "'@SUM(A1)")


def test_columns_are_remembered_for_the_next_file(desk):
    text = "Given,Family,Contact at\nAna,Ruiz,ana@example.test\n"
    run_id = uploaded(desk, text)
    assert service.get(run_id).mapping == {"0": "first_name", "1": "last_name"}
    mapping = {"0": "first_name", "1": "last_name", "2": "email"}
    with transaction():
        service.check(run_id=run_id, mapping=mapping, user_id=desk.id)
    assert service.get(uploaded(desk, text)).mapping == mapping


def test_a_child_and_a_parent_may_share_an_address(desk):
    text = (
        "First name,Last name,Email,Date of birth\n"
        "Ana,Ruiz,home@example.test,1980-01-02\nLeo,Ruiz,home@example.test,2012-03-04\n"
    )
    assert counts(imported(desk, text)) == ("done", 2, 2, 0, 0, 0)


def test_the_whole_way_in_the_browser(client, database):
    visitor = signed_in(database, "front_desk")
    visitor.get("/console/import")
    data = {"kind": "leads", "file": (file(rows(2) + "bad,,,,\n"), "march.csv")}
    address = visitor.post("/console/import", data, content_type="multipart/form-data").location
    page = visitor.get(address).text
    assert "march.csv" in page
    assert "ana0@example.test · ana1@example.test" in page  # what the column holds
    assert "Check file" in page
    number = int(address.rsplit("/", 1)[1])
    assert visitor.post(f"{address}/check", {"column-0": "email"}).status_code == 422
    columns = {"column-0": "first_name", "column-1": "last_name", "column-2": "email", "column-4": "message"}
    assert visitor.post(f"{address}/check", columns).location == address
    assert "data-refresh" in visitor.get(address).text
    jobs.work(number)
    page = visitor.get(address).text
    assert "Import now" in page
    assert "Give an email address or a phone number." in page
    assert "Line,Problem" in visitor.get(f"{address}/problems.csv").text
    visitor.post(f"{address}/start")
    jobs.work(number)
    assert "Undo import" in visitor.get(address).text
    visitor.post(f"{address}/undo")
    jobs.work(number)
    assert "Undone" in visitor.get(address).text
    acts = db.session.scalars(
        select(AuditEntry.action).where(AuditEntry.action.startswith("import.")).order_by(AuditEntry.id)
    ).all()
    assert "import.view" in acts  # what the first rows hold was shown
    assert [act for act in acts if act != "import.view"] == [
        "import.upload", "import.problems", "import.start", "import.done", "import.undo", "import.undone",
    ]  # fmt: skip
    too_large = visitor.post(
        "/console/import",
        {"kind": "leads", "file": (file(b""), "none.csv")},
        content_type="multipart/form-data",
    )
    assert (too_large.status_code, "The file is empty." in too_large.text) == (422, True)


def test_what_was_interrupted_is_asked_for_again(desk, queued_jobs, clock):
    run_id = uploaded(desk, rows(1))
    with transaction():
        service.check(run_id=run_id, mapping=service.get(run_id).mapping, user_id=desk.id)
    clock.shift(180)
    jobs.look_after()
    assert ("interop.work", run_id) in queued_jobs()


def test_files_do_not_stay_for_ever(desk, clock):
    uploaded(desk, rows(1))
    clock.shift(8 * 24 * 3600)
    jobs.look_after()
    assert count(ImportPart) == 0


def test_row_of_a_merged_record_joins_the_one_that_is_left(desk):
    with transaction():
        kept = support_factories.contact("ana@example.test", first_name="Ana", last_name="Ruiz")
        gone = support_factories.contact("ana.work@example.test", first_name="Ana", last_name="Ruiz")
        duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    run = imported(desk, HEAD + "Ana,Ruiz,ana.work@example.test,,Hello\n", kind="leads")
    assert (run.new, run.known, run.errors) == (0, 1, 0)
    assert db.session.scalars(select(Lead.contact_id)).all() == [kept.id]
