"""Many referrals at once from a practice: what its file may be, what becomes of each row, and who sees it."""

import csv
import io
import re
import zipfile
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from crm.audit.models import AuditEntry
from crm.contacts.models import Activity, Contact
from crm.core import clock
from crm.core.csv_files import BadFile, guess_columns
from crm.core.db import db, transaction
from crm.leads import service as leads
from crm.leads.models import Lead, Referral
from crm.messages.models import Message
from crm.portal.models import Draft, Submission
from crm.portal.uploads import rules as uploads_rules
from crm.portal.uploads import service as uploads
from crm.portal.uploads import texts as uploads_texts
from crm.portal.uploads.models import ReferralColumns, ReferralUpload, ReferralUploadRow
from crm.privacy import service as privacy
from crm.referrers.models import Clinician
from jobs import interop as jobs
from tests.portal.test_portal import CANARIES, enter, practice_person, refer, sent

HEAD = "First name,Last name,DOB,Phone,Email,Reason\n"
ANA = "Ana,Ruiz,5/17/1970,213 555 0142,ana@patients.example,Back pain\n"
BEN = "Ben,Ortiz,1980-02-03,213 555 0143,,Migraine\n"
BAD = "Cleo,Wrong,99/99/1980,12,,Knee\n"


def put(visitor, content, name="referrals.csv"):
    visitor.get("/refer/upload")
    content = content.encode() if isinstance(content, str) else content
    return visitor.post(
        "/refer/upload", {"file": (io.BytesIO(content), name)}, content_type="multipart/form-data"
    )


def kept(answer):
    assert answer.status_code == 303, answer.text
    return int(re.search(r"/refer/upload/(\d+)$", answer.location)[1])


def guessed(visitor, upload_id, **changes):
    """Choose the columns as the page proposes them."""
    page = visitor.get(f"/refer/upload/{upload_id}").text
    chosen = {}
    for name, options in re.findall(r'<select[^>]*name="([\w-]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        found = re.search(r'value="([^"]*)" selected', options)
        chosen[name] = found[1] if found else ""
    return visitor.post(f"/refer/upload/{upload_id}/columns", chosen | changes)


def send(visitor, upload_id, **more):
    visitor.get(f"/refer/upload/{upload_id}")
    return visitor.post(f"/refer/upload/{upload_id}/send", {"informed": "yes", **more})


def looked_at(visitor, content):
    upload_id = kept(put(visitor, content))
    assert guessed(visitor, upload_id).status_code == 303
    return upload_id


def sent_off(visitor, content, **more):
    upload_id = looked_at(visitor, content)
    assert send(visitor, upload_id, **more).status_code == 303
    jobs.referrals(upload_id)
    return upload_id


def states(upload_id):
    return [(row.line, row.state) for row in uploads.rows_of(upload_id)]


def count(model):
    return db.session.scalar(select(func.count()).select_from(model))


# files that are none


def _zip():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("referrals.csv", HEAD + ANA)
    return packed.getvalue()


UNFIT = {
    "empty": b" \r\n",
    "empty too": b"\xef\xbb\xbf",
    "archive": _zip(),
    "archive too": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 100,
    "not_text": (HEAD + "A\0na,Ruiz").encode(),
    "not_text too": b"\xff\xfe" + "Name".encode("utf-16-le") + b"\x00",
    "columns": b",".join([b"a"] * 10_000) + b"\n1\n",
    "no_rows": HEAD.encode() + b",,,,,\n\n",
    "rows": (HEAD + ANA * 501).encode(),
    "big": (HEAD + "x" * uploads_rules.MOST_BYTES).encode(),
    "cells": ('"' + HEAD + "x" * 200_000).encode(),
}


@pytest.mark.parametrize("why", UNFIT)
def test_bad_files_are_refused(why):
    with pytest.raises(BadFile) as refused:
        uploads_rules.read_table(UNFIT[why])
    assert refused.value.code == why.partition(" ")[0]


def test_each_has_words_and_nothing_is_kept(portal, monkeypatch):
    monkeypatch.setattr(uploads_rules, "MOST_BYTES", 300_000)
    for why, content in UNFIT.items():
        answer = put(portal, content[:300_001])
        words = uploads_texts.file_problem(BadFile(why.partition(" ")[0]))
        assert answer.status_code == 422, why
        assert words.split("%")[0][:20].split(" 0 ")[0] in answer.text, why
    assert portal.post("/refer/upload").status_code == 422
    far_too_long = {"CONTENT_LENGTH": str(4 * 1024 * 1024), "CONTENT_TYPE": "multipart/form-data; boundary=x"}
    assert portal.post("/refer/upload", environ_overrides=far_too_long).status_code == 413
    assert count(ReferralUpload) == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_of_all_kinds_are_read(encoding, delimiter):
    lines = "Nombre,Apellido,Motivo\nJosé,Muñoz,dolor\n\nAna,Ruiz,migraña\n".replace(",", delimiter)
    table = uploads_rules.read_table(lines.encode(encoding))
    assert table.header == ["Nombre", "Apellido", "Motivo"]
    assert list(table.rows.values()) == [["José", "Muñoz", "dolor"], ["Ana", "Ruiz", "migraña"]]
    assert guess_columns(table.header, {}, names=uploads_rules.OTHER_NAMES) == {
        "0": "first_name",
        "1": "last_name",
        "2": "reason",
    }


@pytest.mark.parametrize(
    ("mapping", "wrong"),
    [
        (dict(zip("0123", ("last_name", "email", "birth_date", "reason"), strict=True)), []),
        (
            {"0": "member_id"},
            [("missing", one) for one in ("first_name", "phone", "birth_date", "reason")],
        ),
        ({"9": "first_name"}, [("choice", "")]),
        ({"²": "first_name"}, [("choice", "")]),
        ({"0": "informed"}, [("choice", "")]),
        (
            dict(zip("01234", ("last_name", "phone", "birth_date", "reason", "phone"), strict=True)),
            [("twice", "phone")],
        ),
    ],
)
def test_columns_that_do_not_fit(mapping, wrong):
    assert uploads_rules.check_mapping(["a"] * 6, mapping) == wrong


@pytest.mark.parametrize(
    ("cells", "field", "value"),
    [
        (["Español"], "language", "es"),
        (["ENGLISH"], "language", "en"),
        (["es-MX"], "language", "es"),
        (["Urgente"], "urgency", "urgent"),
        (["sí"], "urgency", "urgent"),
        (["Treatment"], "service", "treat"),
        (["'=1+1"], "payer", "=1+1"),
        ([], "email", None),
    ],
)
def test_cells_are_read_as_answers(cells, field, value):
    answers = uploads_rules.answers_of(cells, mapping={"0": field}, clinician="7", npis={})
    read = uploads_rules.read_row(answers, clinicians={}, strangers=(), today=date(2026, 3, 3))
    assert (read.clean[field], answers["clinician"], answers["agreed"]) == (value, "7", "")


@pytest.mark.parametrize(
    ("npi", "name", "default", "chosen", "wrong"),
    [
        ("", "", "7", "7", {}),
        ("1234567893", "", "", "7", {}),
        ("1558598797", "Dr. B", "7", "new", {"npi": "npi_taken"}),
        ("1245319599", "Dr. C", "7", "new", {}),
        ("1245319599", "", "7", "new", {"clinician_name": "required"}),
        ("12", "Dr. C", "7", "new", {"npi": "npi"}),
    ],
)
def test_who_refers_is_the_one_of_the_row_or_the_one_for_all(npi, name, default, chosen, wrong):
    cells = ["Ana", "Ruiz", "5/17/1970", "213 555 0142", "pain", npi, name]
    names = ("first_name", "last_name", "birth_date", "phone", "reason", "npi", "clinician_name")
    mapping = {str(n): one for n, one in enumerate(names)}
    own = {"7": ("Dr. A", "1234567893")}
    answers = uploads_rules.answers_of(cells, mapping=mapping, clinician=default, npis={"1234567893": "7"})
    read = uploads_rules.read_row(answers, clinicians=own, strangers={"1558598797"}, today=date(2026, 3, 3))
    assert answers["clinician"] == chosen
    assert {name: problem.code for name, problem in read.wrong.items()} == wrong


# the way through


def test_good_rows_become_referrals_and_the_others_come_back(database, nurse, portal):
    before = count(Message)
    upload_id = looked_at(portal, HEAD + ANA + BAD + BEN)
    page = portal.get(f"/refer/upload/{upload_id}").text
    assert "Birth date: Enter a date of birth" in page
    assert "Cleo Wrong" in page
    assert count(Lead) == 0
    assert send(portal, upload_id).status_code == 303
    assert 'data-refresh="2"' in portal.get(f"/refer/upload/{upload_id}").text
    jobs.referrals(upload_id)
    assert states(upload_id) == [(2, "taken"), (3, "refused"), (4, "taken")]
    page = portal.get(f"/refer/upload/{upload_id}").text
    leads = db.session.scalars(select(Lead).order_by(Lead.id)).all()
    assert [lead.source for lead in leads] == ["portal", "portal"]
    assert all(lead.reference in page and lead.referral.patient_informed for lead in leads)
    submissions = db.session.scalars(select(Submission)).all()
    assert {(one.person_id, one.informed) for one in submissions} == {(nurse.id, "referral-informed/1")}
    assert count(Message) == before  # the page says it; not an email for each row
    assert portal.get(f"/refer/r/{leads[0].reference}").status_code == 200


def test_optional_cells_do_not_lose_the_patient(portal):
    head = HEAD.strip() + ",State,Language,Urgent,patient_insurance\n"
    rows = (
        "Ana,Ruiz,5/17/70,213-555-0142 x12,,Pain,California,es-MX,,\n"
        "Ben,Ortiz,1980-02-03 00:00:00,12,ben@patients.example,Migraine,Califrnia,xx,soon,N/A\n"
        'Cleo,,1980-02-03,2135550142.0,none@none.com,"Knee\n'
        "Dora,Paz,1980-02-03,213 555 0144,,pain, back,CA,en,no,Aetna\n"
        "Eva,,1980-02-03,(213) 555-0145 (cell),none@none.com,Knee\n"
    )
    upload_id = looked_at(portal, head + rows)
    page = portal.get(f"/refer/upload/{upload_id}").text
    for words in (
        "State where the patient lives: Use the two letters",
        "Phone: Enter a US phone number",
        "Language: Choose en (English) or es (Spanish).",
        "How soon?: Choose one of the answers in the list.",
        "missing its partner",
        "more cells than the header",
    ):
        assert words in page
    send(portal, upload_id)
    jobs.referrals(upload_id)
    assert states(upload_id) == [(2, "taken"), (3, "taken"), (4, "refused"), (5, "refused"), (6, "taken")]
    notes = db.session.scalars(select(Activity.text).where(Activity.kind == "left_out")).all()
    assert any("State “Califrnia”" in note for note in notes)
    page = portal.get(f"/refer/upload/{upload_id}").text
    assert "Sent without what cannot be read" in page
    assert "State where the patient lives: Use the two letters" in page
    lines = list(
        csv.reader(
            io.StringIO(portal.get(f"/refer/upload/{upload_id}/problems.csv").data.decode("utf-8-sig"))
        )
    )
    assert [line[0] for line in lines[1:]] == ["3", "4", "5", "6"]
    assert lines[1][1].startswith("This row goes in without what cannot be read: State where")


def test_pressing_twice_and_uploading_again_sends_nobody_twice(database, nurse, portal):
    upload_id = sent_off(portal, HEAD + ANA + BEN)
    assert send(portal, upload_id).status_code == 303
    jobs.referrals(upload_id)
    assert count(Lead) == 2
    again = looked_at(portal, HEAD + ANA + BEN)
    assert "Possible duplicates" in portal.get(f"/refer/upload/{again}").text
    assert send(portal, again).status_code == 422  # nothing is left to send
    assert send(portal, again, also=["2", "3"]).status_code == 303
    jobs.referrals(again)
    assert states(again) == [(2, "known"), (3, "known")]
    assert count(Lead) == 2


def test_duplicates_by_form_or_in_the_file(portal):
    sent(refer(portal))
    rows = "Quillon,Zzyzx,5/17/1970,213 555 0199,,Another reason\n" + ANA
    rows += ANA.replace("Back pain", "Knee").replace("ana@", "other@")  # name and birth date
    rows += "Maria,Ruiz,5/17/1999,213 555 0142,ana@patients.example,Knee\n"  # the address
    upload_id = looked_at(portal, HEAD + rows)
    first = db.session.scalars(select(Lead.reference)).one()
    assert uploads.check_file(db.session.get(ReferralUpload, upload_id)).duplicates == {
        2: f"repeats_lead::reference={first}", 4: "repeats_row::row=3", 5: "repeats_row::row=3",
    }  # fmt: skip
    page = portal.get(f"/refer/upload/{upload_id}").text
    assert f"It is the same as {first}, which is in already." in page
    assert "It is the same as row 3." in page
    send(portal, upload_id, also=["2", "5", "x", "99"])
    jobs.referrals(upload_id)
    assert states(upload_id) == [(2, "taken"), (3, "taken"), (4, "double"), (5, "taken")]
    assert count(Lead) == 4


def test_without_the_word_that_patients_know_nothing_is_sent(portal):
    upload_id = looked_at(portal, HEAD + ANA)
    answer = portal.post(f"/refer/upload/{upload_id}/send", {"informed": ""})
    assert answer.status_code == 422
    assert "f-informed" in answer.text
    assert count(ReferralUploadRow) == 0


def test_columns_are_chosen_first_and_remembered_sealed(portal):
    odd = "A1,A2,A3,A4,A5\nAna,Ruiz,5/17/1970,213 555 0142,Pain\n"
    upload_id = kept(put(portal, odd))
    assert guessed(portal, upload_id).status_code == 422
    assert send(portal, upload_id).status_code == 409
    names = ("first_name", "last_name", "birth_date", "phone", "reason")
    chosen = {f"column-{n}": name for n, name in enumerate(names)}
    assert guessed(portal, upload_id, **chosen).status_code == 303
    assert guessed(portal, upload_id, clinician="999999").status_code == 422
    kept_columns = db.session.scalars(select(ReferralColumns.mapping)).one()
    assert "first_name" in kept_columns
    stored = db.session.scalar(text("select mapping from referral_columns"))
    assert b"first_name" not in bytes(stored)
    looked_at(portal, odd)  # the page proposes what was chosen


def test_the_file_is_sealed_and_goes_after_a_week(database, portal):
    upload_id = sent_off(portal, HEAD + ANA + BAD)
    stored = db.session.execute(text("select content, name from referral_upload")).one()
    assert b"Ruiz" not in bytes(stored.content)
    assert b"referrals.csv" not in bytes(stored.name)
    with clock.pretend(clock.now() + timedelta(days=7, minutes=1)):
        jobs.look_after()
    assert (count(ReferralUpload), count(ReferralUploadRow), count(Lead)) == (0, 0, 1)
    assert portal.get(f"/refer/upload/{upload_id}").status_code == 404


def test_work_that_was_interrupted_goes_on(database, portal, queued_jobs, monkeypatch):
    monkeypatch.setattr(uploads, "SLICE", 1)
    upload_id = looked_at(portal, HEAD + ANA + BEN)
    send(portal, upload_id)
    assert ("interop.referrals", upload_id) in queued_jobs()
    with transaction():
        row = db.session.get(ReferralUpload, upload_id)
        uploads._process_slice(row)
    assert [state for _line, state in states(upload_id)] == ["taken", "wanted"]
    with clock.pretend(clock.now() + timedelta(minutes=3)):
        assert uploads.stalled() == [upload_id]
    jobs.referrals(upload_id)
    jobs.referrals(upload_id)
    assert [state for _line, state in states(upload_id)] == ["taken", "taken"]


def test_a_row_that_collides_is_refused_alone(database, portal):
    sent(refer(portal, external_id="A-1"))
    head, ana = HEAD.replace("Reason", "Reason,Your number"), ANA.strip() + ",A-1\n"
    upload_id = sent_off(portal, head + ana + BEN.strip() + ",A-2\n")
    assert states(upload_id) == [(2, "refused"), (3, "taken")]
    assert "belongs to the referral of another patient" in portal.get(f"/refer/upload/{upload_id}").text
    assert db.session.scalar(select(Contact).where(Contact.first_name == "Ana")) is None


def test_many_rows_go_in_and_what_is_too_much_for_a_page_is_said(portal):
    good = "".join(
        f"Ana{chr(97 + n % 26)}{chr(97 + n // 26)},Ruiz,5/17/1970,213 555 0142,,Pain\n" for n in range(60)
    )
    upload_id = looked_at(portal, HEAD + good + BAD * 110)
    assert "The first 100 rows are shown" in portal.get(f"/refer/upload/{upload_id}").text
    send(portal, upload_id)
    jobs.referrals(upload_id)
    assert (count(Lead), count(ReferralUploadRow)) == (60, 170)
    assert portal.get(f"/refer/upload/{upload_id}").status_code == 200
    assert portal.get(f"/refer/upload/{10**30}").status_code == 404


def test_a_draft_of_the_form_stays(portal):
    refer(portal, act="save")
    sent_off(portal, HEAD + ANA)
    assert count(Draft) == 1


def test_a_file_that_was_not_sent_can_be_deleted(portal):
    upload_id = looked_at(portal, HEAD + ANA)
    assert portal.post(f"/refer/upload/{upload_id}/discard").status_code == 303
    assert count(ReferralUpload) == 0
    done = sent_off(portal, HEAD + ANA)
    assert portal.post(f"/refer/upload/{done}/discard").status_code == 409


def test_problem_rows_are_safe_and_can_be_uploaded_again(portal):
    rows = "=cmd|' /C calc'!A0,Ruiz,5/17/1970,213 555 0142,,@SUM(1)\n"
    upload_id = looked_at(portal, HEAD + rows + ANA)
    for _ in ("before", "after"):
        answer = portal.get(f"/refer/upload/{upload_id}/problems.csv")
        lines = list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"))))
        assert lines[0][:3] == ["Line", "Problem", "First name"]
        assert lines[1][0] == "2"
        assert lines[1][1].startswith("First name: A name cannot hold “=”")
        assert (lines[1][2], lines[1][7]) == ("'=cmd|' /C calc'!A0", "'@SUM(1)")
        assert len(lines) == 2
        send(portal, upload_id)
        jobs.referrals(upload_id)
    mended = answer.data.replace(b"'=cmd|' /C calc'!A0", b"Eva")
    again = sent_off(portal, mended)
    assert states(again) == [(2, "taken")]
    assert "@SUM(1)" in db.session.scalars(select(Referral.health).order_by(Referral.lead_id.desc())).first()


def test_the_file_to_fill_in_can_be_sent_as_it_is(portal):
    answer = portal.get("/refer/upload/template.csv")
    header = next(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"))))
    guess = guess_columns(header, {}, names=uploads_rules.OTHER_NAMES)
    assert list(guess.values()) == list(uploads_rules.TEMPLATE)
    assert states(sent_off(portal, answer.data)) == [(2, "taken")]
    spanish = portal.get("/refer/upload/template.csv?lang=es").data.decode("utf-8-sig")
    header = next(csv.reader(io.StringIO(spanish)))
    assert "Nombre" in header
    assert list(guess_columns(header, {}, names=uploads_rules.OTHER_NAMES).values()) == list(
        uploads_rules.TEMPLATE
    )


# who sees what, and where it does not show


def test_another_practice_finds_none_of_it(database, nurse, portal):
    upload_id = sent_off(portal, HEAD + ANA + BAD)
    theirs = enter(database, practice_person("other@south.example", "1558598797", "South Clinic"))
    assert "referrals.csv" not in theirs.get("/refer/upload").text
    for address in ("", "/problems.csv"):
        assert theirs.get(f"/refer/upload/{upload_id}{address}").status_code == 404
    for act in ("/columns", "/send", "/discard"):
        assert theirs.post(f"/refer/upload/{upload_id}{act}").status_code == 404
    theirs_own = looked_at(theirs, HEAD + ANA)  # that another practice sent her is not told
    assert "Possible duplicates</dt><dd>0" in re.sub(
        r"\s*\n\s*", "", theirs.get(f"/refer/upload/{theirs_own}").text
    )


def test_an_npi_of_another_practice_is_refused(database, portal):
    practice_person("other@south.example", "1558598797", "South Clinic")
    head = HEAD.replace("Reason", "Reason,NPI,Clinician")
    upload_id = looked_at(portal, head + ANA.strip() + ",1558598797,Dr. B\n")
    assert (
        "This NPI belongs to a clinician of another practice" in portal.get(f"/refer/upload/{upload_id}").text
    )
    assert send(portal, upload_id).status_code == 422
    assert count(Clinician) == 2


def test_the_log_knows_who_and_nothing_about_a_patient(nurse, portal, queued_jobs):
    rows = "Quillon,Zzyzx,5/17/1970,213 555 0142,,Vexatious canarialgia\n"
    upload_id = sent_off(portal, HEAD + rows + BAD)
    portal.get(f"/refer/upload/{upload_id}/problems.csv")
    entries = db.session.scalars(select(AuditEntry).where(AuditEntry.object_type == "referral_upload")).all()
    assert {one.action.partition(".")[2] for one in entries} == {"add", "view", "send", "done", "problems"}
    assert {one.actor for one in entries} == {f"referrer:{nurse.id}"}
    opened = db.session.scalars(select(AuditEntry.actor).where(AuditEntry.action == "lead.open")).all()
    assert opened == [f"referrer:{nurse.id}"]
    reasons = db.session.scalars(select(ReferralUploadRow.reason)).all()
    told = str([one.detail for one in entries]) + str(queued_jobs()) + str(reasons)
    assert not [word for word in CANARIES if word in told]


def test_who_is_erased_is_erased_from_the_file_too(portal):
    upload_id = sent_off(portal, HEAD + ANA)
    lead = db.session.scalars(select(Lead)).one()
    with transaction():
        leads.move_stage(lead_id=lead.id, version=lead.version, to="entered_in_error")
        privacy.erase(contact_id=lead.contact_id, reason="mistake", despite_care=True)
    assert db.session.scalar(text("select content from referral_upload")) is None
    assert portal.get(f"/refer/upload/{upload_id}").status_code == 200


def test_the_pages_speak_spanish(portal):
    upload_id = looked_at(portal, HEAD + ANA + BAD)
    for address in ("/refer/upload", f"/refer/upload/{upload_id}"):
        page = portal.get(f"{address}?lang=es").text
        assert "Carga masiva de referidos" in page
    assert "El paciente sabe" in page
    assert "Fecha de nacimiento:" in page


CELLS = ["Ana", "Bo", "", "5/17/1970", "1980-02-03", "2135550142", "12", "a@x.example", "b@x.example", "none@none.com",
         '"Ruiz', 'say "hi"', "x\ny", "; , |", "Pain", "N/A"]  # fmt: skip
ROWS = st.lists(st.lists(st.sampled_from(CELLS), max_size=8), min_size=1, max_size=10)
GOOD_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["Ana", "Bo"]), st.just("Ruiz"), st.sampled_from(["5/17/1970", "1980-02-03"]),
        st.sampled_from(["2135550142", "12"]), st.sampled_from(["a@x.example", "none@none.com"]), st.just("Pain"),
    ).map(list),
    max_size=4,
)  # fmt: skip


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS, good=GOOD_ROWS, quoted=st.booleans(), delimiter=st.sampled_from(",;\t"))
def test_every_row_of_any_file_is_sent_or_listed(nurse, rows, good, quoted, delimiter):
    table = [HEAD.strip().split(","), *rows, *good]
    written = io.StringIO(newline="")
    if quoted:
        csv.writer(written, delimiter=delimiter).writerows(table)
    else:
        written.write("".join(delimiter.join(row) + "\n" for row in table))
    if not any(cell.strip() for row in table[1:] for cell in row):
        return
    person, before = db.session.merge(nurse), count(Lead)
    with transaction():
        row = uploads.upload(person=person, name="referrals.csv", content=written.getvalue().encode())
        names = ("first_name", "last_name", "birth_date", "phone", "email", "reason")
        uploads.choose_columns(
            upload_id=row.id, practice_id=person.practice_id, mapping=dict(zip("012345", names, strict=True)),
            clinician_id=db.session.scalar(select(Clinician.id)),
        )  # fmt: skip
        upload_id, read = row.id, uploads.table_of(row)
    listed = {line for line, *_ in uploads.problems(db.session.get(ReferralUpload, upload_id))}
    found = uploads.check_file(db.session.get(ReferralUpload, upload_id))
    assert set(found.ready) | listed == set(read.rows)
    if not found.ready:
        return
    with transaction():
        uploads.send_rows(
            upload_id=upload_id, person=db.session.merge(nurse), informed=True, also=(), language="en"
        )
    jobs.referrals(upload_id)
    ends = dict(states(upload_id))
    assert set(ends) == set(read.rows)
    assert count(Lead) - before == sum(state == "taken" for state in ends.values())
    cells_of = {
        line: cells for line, _why, _in, cells in uploads.problems(db.session.get(ReferralUpload, upload_id))
    }
    assert {line for line, state in ends.items() if state in ("refused", "double")} <= cells_of.keys()
    assert all(cells == read.rows[line] for line, cells in cells_of.items())
