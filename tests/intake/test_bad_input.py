"""Invalid input at every entry point: the form, the API, the referrer portal, a file.

At each the answer names the field, and nothing is half done.
"""

import csv
import io
import zipfile

import pytest
from sqlalchemy import func, select

from crm.contacts.models import Activity, Contact
from crm.core.db import db, transaction
from crm.core.errors import Invalid
from crm.duplicates import service as duplicates
from crm.imports import rules, service
from crm.imports.models import ImportRun
from crm.intake import proof_of_work
from crm.leads.models import Lead, Referral
from jobs import interop as jobs
from tests.intake.test_public import inputs, solve
from tests.portal.test_portal import enter, practice_person, refer
from tests.support import factories as support_factories
from tests.support.browser_client import member, signed_in
from tests.web.test_api import PATIENT, REQUEST, make_key, post, referral

HEAD = "First name,Last name,Email,Phone,Date of birth,Message\n"
BAD_NAMES = {
    "nul": "A\0na",
    "private use": "Ana\ue000",
    "emoji": "Ana 🙂",
    "300 characters": "x" * 300,
    "formula": "=cmd|' /C calc'!A0",
    "another formula": "@SUM(1+1)",
    "address": "Ana\nBcc: all@example.test",
}


NAMED = {
    "form": "first_name-error",
    "api": "'first_name'",
    "referral": "'patient.first_name'",
    "portal": "first_name-error",
    "file": "First name:",
}


def count(model):
    return db.session.scalar(select(func.count()).select_from(model))


class Doors:
    """One call per entry point: a first name and more -> (status, response text)."""

    def __init__(self, client, clock, app):
        self.client, self.clock, self.app = client, clock, app
        self.key = make_key()
        self.desk = member("front_desk").id
        with transaction():
            support_factories.shipped()
        self.nurse = practice_person()

    def form(self, name, **more):
        hidden = inputs(self.client.get("/contact"))
        self.clock.shift(10)
        proved = solve(self.client.get("/contact/challenge").json)
        typed = {name: value for name, value in REQUEST.items() if isinstance(value, str)}
        data = hidden | typed | {"language": "en", "first_name": name, "altcha": proved} | more
        answer = self.client.post("/contact", data=data)
        return answer.status_code, answer.text

    def api(self, name, **more):
        return self._posted("contact-requests", REQUEST | {"first_name": name} | more)

    def referral(self, name, **more):
        patient = PATIENT | {"first_name": name} | more
        return self._posted("referrals", referral(patient=patient, external_id=None))

    def _posted(self, where, body):
        answer = post(self.client, self.key, body, where)
        return answer.status_code, str(answer.json.get("error", {}).get("fields", {}))

    def portal(self, name, **more):
        answer = refer(enter(self.app, self.nurse), first_name=name, **more)
        return answer.status_code, answer.text

    def file(self, name, **more):
        cells = {"last": "Ruiz", "email": "", "phone": "", "birth_date": "", "message": ""} | more
        line = io.StringIO()
        csv.writer(line).writerow([name, *cells.values()])
        try:
            run = self.imported((HEAD + line.getvalue()).encode())
        except Invalid as error:
            return 422, str(error.fields)
        problems = list(service.problems(run.id))[1:]
        return (422, problems[0][1]) if problems else (201, "")

    def imported(self, content, kind="leads"):
        with transaction():
            run = service.upload(file=io.BytesIO(content), name="people.csv", kind=kind, user_id=self.desk)
            service.check(run_id=run.id, mapping=run.mapping, user_id=self.desk)
        jobs.work(run.id)
        with transaction():
            service.start(run_id=run.id)
        jobs.work(run.id)
        return service.get(run.id)


@pytest.fixture
def doors(client, clock, database, monkeypatch):
    monkeypatch.setattr(proof_of_work, "DIFFICULTY", 50)
    return Doors(client, clock, database)


@pytest.mark.parametrize("door", ["form", "api", "referral", "portal", "file"])
def test_invalid_names_everywhere(doors, door):
    before = count(Contact)
    for why, name in BAD_NAMES.items():
        status, words = getattr(doors, door)(
            name, **({"email": "a@example.test", "last": ""} if door == "file" else {})
        )
        assert status == 422, why
        # what no file and no request can hold is said of the whole of it
        whole = "not a text file" in words or "cannot be stored" in words
        assert NAMED[door] in words or (whole and why == "nul"), (why, words)
    assert (count(Contact), count(Lead)) == (before, 0)


def test_lone_surrogates(doors):
    body = '{"first_name": "A\\ud800na", "last_name": "Ruiz", "email": "ana@example.test"}'
    headers = doors.key | {"Content-Type": "application/json"}
    answer = doors.client.post("/api/v1/contact-requests", data=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert count(Lead) == 0


@pytest.mark.parametrize("door", ["form", "api", "file"])
def test_any_script_and_emoji(doors, door):
    text = "Gracias 🙂 ありがとう = @ +"
    status, words = getattr(doors, door)("Ana", email="ana@example.test", message=text)
    assert status in (201, 303), words
    assert db.session.scalars(select(Lead)).one().message == text


def test_one_way_to_reach_a_person_is_enough(doors):
    """The API names what it cannot read; it refuses a person whom nobody could reach."""
    assert doors.api("Ana", email="none@none.com", phone="213 555 0142")[0] == 201
    [lead] = db.session.scalars(select(Lead))
    assert (lead.contact.email, lead.contact.phone) == (None, "+12135550142")
    assert (
        "none@none.com" in db.session.scalars(select(Activity.text).where(Activity.kind == "left_out")).one()
    )
    assert doors.api("Ben", email="ben@example.test", phone="12")[0] == 201
    for email, phone, said in [("none@none.com", "12", "reaches nobody"), ("", "", "or a phone number")]:
        status, words = doors.api("Kim", email=email, phone=phone)
        assert (status, said in words) == (422, True), words


@pytest.mark.parametrize("door", ["form", "api", "referral", "portal", "file"])
def test_shared_phone(doors, door):
    before = count(Contact)
    call = getattr(doors, door)
    for name, email in (("Ana", "ana@example.test"), ("Boris", "boris@example.test")):
        born = {"birth_date": "1/2/1970" if door in ("portal", "file") else "1970-01-02"}
        more = born if door in ("referral", "portal", "file") else {}
        status, words = call(name, email=email, phone="213 555 0142", **more)
        assert status in (201, 303), words
    assert (count(Contact) - before, count(Lead)) == (2, 2)
    ana, boris = (lead.contact for lead in db.session.scalars(select(Lead).order_by(Lead.id)))
    assert [one.contact.id for one in duplicates.candidates(ana)] == [boris.id]
    assert "phone" in duplicates.candidates(boris)[0].alike


@pytest.mark.parametrize("door", ["referral", "portal", "file"])
def test_minor_with_parents_address(doors, door):
    parent = support_factories.contact("kim@example.test", first_name="Kim", last_name="Field")
    guardian = {"name": "Kim Field", "relation": "mother", "phone": "213 555 0178"}
    more = {
        "referral": {"last_name": "Field", "birth_date": "2015-05-17", "guardian": guardian},
        "portal": {
            "last_name": "Field",
            "birth_date": "5/17/2015",
            "guardian_name": "Kim Field",
        },
        "file": {"last": "Field", "birth_date": "5/17/2015"},
    }[door]
    status, words = getattr(doors, door)("Leo", email="kim@example.test", **more)
    assert status in (201, 303), words
    lead = db.session.scalars(select(Lead)).one()
    assert lead.contact_id != parent.id
    assert (lead.contact.first_name, lead.contact.birth_date) == ("Leo", "2015-05-17")
    assert parent.birth_date is None
    if door != "file":
        assert "Kim Field" in db.session.scalars(select(Referral.guardian)).one()


@pytest.mark.parametrize(
    ("door", "born", "named"),
    [("referral", "2015-05-17", "'patient.guardian'"), ("portal", "5/17/2015", "guardian_name-error")],
)
def test_minor_needs_guardian(doors, door, born, named):
    status, words = getattr(doors, door)("Leo", birth_date=born)
    assert (status, named in words) == (422, True)
    assert count(Lead) == 0


def _bomb():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("people.csv", b"0" * 30_000_000)
    return packed.getvalue()


@pytest.mark.parametrize("name", ["people.csv", "people.pdf", "people.xlsx"])
def test_archives_are_refused(doors, name):
    bomb = _bomb()
    with pytest.raises(Invalid, match="Some fields") as refused, transaction():
        service.upload(file=io.BytesIO(bomb), name=name, kind="leads", user_id=doors.desk)
    assert "not a text file" in str(refused.value.fields["file"])


def test_very_wide_row(doors):
    row = ",".join(["Ana", "Ruiz", "ana@example.test", "", "", "Hi", *["x"] * 10_000])
    run = doors.imported((HEAD + row + "\n").encode())
    assert (run.state, run.new, run.errors) == ("done", 0, 1)
    assert len(list(service.problems(run.id))) == 2  # the heading, and the row that is listed


def test_large_file_is_not_read(doors, database, monkeypatch):
    visitor = signed_in(database, "admin")
    visitor.get("/console/import")
    monkeypatch.setattr(rules, "MOST_BYTES", 1000)
    data = {"kind": "leads", "file": (io.BytesIO(b"x" * 2_000_000), "people.csv")}
    answer = visitor.post("/console/import", data, content_type="multipart/form-data")
    answer.request.environ["wsgi.input"].close()  # as the server does with what nobody read
    assert answer.status_code == 413
    assert "too long" in answer.text
    data = {"kind": "leads", "file": (io.BytesIO(b"a,b\n" * 1000), "people.csv")}
    answer = visitor.post("/console/import", data, content_type="multipart/form-data")
    assert (answer.status_code, "larger than 50 MB" in answer.text) == (422, True)
    assert count(ImportRun) == 0
