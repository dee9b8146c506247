"""Signed exceptions: who signs which finding, what they are bound to, and that they end by themselves."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from crm.content import approval, claims_gate, service
from crm.content.claims import Finding, Severity
from crm.content.editor import form_codec, hints, new_email
from crm.content.editor import service as editor
from crm.content.exceptions import rules
from crm.content.exceptions import service as exceptions
from crm.content.models import ContentException, ContentVersion
from crm.core import clock as time
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid, NotAllowed, NotFound
from tests.support import factories as support_factories
from tests.support.browser_client import signed_in

WRITER, DOCTOR, BOSS, LAWYER = "staff:9001", "staff:9002", "staff:9003", "staff:9004"
SENTENCE = "Our ramp is completely safe for wheelchairs."


@pytest.fixture(autouse=True)
def _start(edge, clock):
    support_factories.shipped()


def blocked_draft(sentence: str = SENTENCE) -> ContentVersion:
    """A new email with a sentence that the claims check stops."""
    subject = {"en": f"How to find our door {len(sentence)}"}
    [made] = new_email.begin(subjects=subject, stream="prospect_edu", pattern=None, actor=WRITER)
    return write(made, "…", sentence)


def write(made: ContentVersion, old: str, new: str) -> ContentVersion:
    parts = form_codec.split_fields(made.source)
    editor.save(
        made.id, parts=replace(parts, body=parts.body.replace(old, new)), base=made.version, actor=WRITER
    )
    return made


def stops(version: ContentVersion) -> list[Finding]:
    blocks = service.current_blocks(version.language)
    return claims_gate.blocking(version.source, blocks=blocks, host=service.host())


def digest(version: ContentVersion) -> str:
    [one] = [one for one in hints.check_version(version).findings if one.digest]
    return one.digest


def ask(version: ContentVersion, **other) -> ContentException:
    given = {"digest": digest(version), "reason": "It is about the ramp.", "days": 30, "actor": WRITER}
    return exceptions.request_exception(version, found=stops(version), **{**given, **other})


def sign(row: ContentException, actor: str, role: str) -> ContentException:
    return exceptions.sign(row.id, as_role=role, actor=actor, roles=[role], authors={WRITER})


def signed(version: ContentVersion) -> ContentException:
    row = ask(version)
    sign(row, DOCTOR, "clinician")
    assert not row.is_signed
    assert sign(row, BOSS, "admin").is_signed
    return row


def approved(version: ContentVersion) -> None:
    approval.submit(version.id, actor=WRITER)
    approval.approve(version.id, actor=DOCTOR, roles=["clinician"], kind="clinical")
    assert approval.approve(version.id, actor=LAWYER, roles=["marketer"], kind="compliance")


def sendable(version: ContentVersion) -> str:
    found = service.sendable(version.id, now=time.now())
    return found.reason if isinstance(found, service.NotSendable) else "sent"


def test_two_signatures_let_one_sentence_pass_until_it_ends(clock):
    made = blocked_draft()
    assert [one.sentence for one in stops(made)] == [SENTENCE]
    with pytest.raises(Invalid):
        approval.submit(made.id, actor=WRITER)
    row = signed(made)
    [shown] = [one for one in hints.check_version(made).findings if one.exception]
    assert (shown.stops, shown.exception) == (False, row)
    approved(made)
    assert made.expires_at == row.ends_at
    assert sendable(made) == "sent"
    clock.shift(30 * 86_400)
    assert sendable(made) == "content_expired"
    db.session.execute(text("update content_version set expires_at = null where id = :id"), {"id": made.id})
    assert sendable(made).startswith("content_refused")  # the exception has ended, whatever the approval says
    assert ask(made).id != row.id
    with pytest.raises(Conflict):
        ask(made)


def test_another_letter_or_another_email_needs_another_exception():
    made = blocked_draft()
    signed(made)
    write(made, "wheelchairs", "wheel chairs")
    assert hints.check_version(made).stops
    [twin] = new_email.begin(subjects={"en": "Twin"}, stream="prospect_edu", pattern=None, actor=WRITER)
    assert hints.check_version(write(twin, "…", SENTENCE)).stops
    write(made, "wheel chairs", "wheelchairs")
    assert not hints.check_version(made).stops


def test_an_ended_exception_stops_the_email_at_once():
    made = blocked_draft()
    row = signed(made)
    approved(made)
    exceptions.end(row.id, actor=DOCTOR)
    assert sendable(made).startswith("content_refused")
    with pytest.raises(NotAllowed, match="has ended"):
        sign(row, DOCTOR, "clinician")


def test_what_waits_for_a_signature_is_listed():
    row = ask(blocked_draft())
    assert exceptions.waiting() == [row]
    sign(row, DOCTOR, "clinician")
    assert exceptions.waiting() == [row]
    sign(row, BOSS, "admin")
    assert exceptions.waiting() == []


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"reason": " "}, Invalid),
        ({"days": 365}, Invalid),
        ({"digest": "00"}, NotFound),
    ],
)
def test_asking_is_refused(given, error):
    with pytest.raises(error):
        ask(blocked_draft(), **given)


def asked(**other) -> rules.SignatureRequest:
    given = {
        "actor": DOCTOR,
        "roles": ["clinician", "admin"],
        "as_role": "clinician",
        "authors": {WRITER},
        "signed": {},
        "ends_at": time.now() + timedelta(days=1),
        "ended": False,
        "now": time.now(),
    }
    return rules.SignatureRequest(**{**given, **other})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, None),
        ({"roles": ["marketer"]}, "Only a clinician and an administrator"),
        ({"as_role": "marketer"}, "Only a clinician and an administrator"),
        ({"ended": True}, "has ended"),
        ({"ends_at": "now"}, "has ended"),
        ({"actor": WRITER}, "You wrote this text"),
        ({"signed": {"clinician": LAWYER}}, "already given"),
        ({"signed": {"admin": DOCTOR}}, "You gave the other signature"),
    ],
)
def test_who_may_sign(given, why):
    if given.get("ends_at") == "now":
        given = {"ends_at": time.now()}
    said = rules.signature_problem(asked(**given))
    assert said is None if why is None else why in said


@pytest.mark.parametrize(
    ("changed", "may"),
    [
        ({}, True),
        ({"where": "block:risk-short"}, True),
        ({"where": "subject"}, False),
        ({"of_sentence": False}, False),
        ({"severity": Severity.ASK}, False),
        ({"id": "testimonial"}, False),
    ],
)
def test_which_findings_may_be_signed(changed, may):
    one = Finding(
        id="absolute", rule="", severity=Severity.BLOCK, sentence=SENTENCE, words="", start=0, end=0, why="", suggestion="",
        of_sentence=True,
    )  # fmt: skip
    assert rules.may_be_signed(replace(one, **changed)) is may


def test_a_sentence_of_a_block_belongs_to_the_block():
    one = Finding(
        id="absolute", rule="", severity=Severity.BLOCK, sentence=SENTENCE, words="", start=0, end=0, why="", suggestion="",
        of_sentence=True,
    )  # fmt: skip
    in_email = exceptions.digest_of(replace(one, where="block:off-label"), item_key="a/b", language="en")
    assert in_email == exceptions.digest_of(one, item_key="block/off-label", language="en")


def test_the_page_asks_signs_and_shows(database):
    with transaction():
        made = blocked_draft()
    address = f"/console/content/versions/{made.id}"
    clinician, admin = signed_in(database, "clinician"), signed_in(database, "admin")
    assert "Ask for an exception" in clinician.get(address).text
    given = {"digest": digest(made), "reason": "About the ramp.", "days": "30"}
    clinician.post(f"/console/content/exceptions/versions/{made.id}", given)
    [row] = exceptions.waiting()
    assert SENTENCE in admin.get("/console/content/review").text
    clinician.post(f"/console/content/exceptions/{row.id}/sign", {"as": "clinician"})
    admin.get(address)
    admin.post(f"/console/content/exceptions/{row.id}/sign", {"as": "admin"})
    shown = admin.get(address).text
    assert "Exception until" in shown
    assert "End the exception" in shown
    assert (
        signed_in(database, "front_desk").post(f"/console/content/exceptions/{row.id}/end").status_code == 403
    )


def test_the_database_knows_two_people():
    row = ask(blocked_draft())
    with pytest.raises(IntegrityError), db.session.begin_nested():
        db.session.execute(
            text("update content_exception set clinician = 'a', clinician_at = now(), admin = 'a', admin_at = now() "
                 "where id = :id"),
            {"id": row.id},
        )  # fmt: skip
