"""A new email from a blank or a pattern, until sequences and broadcasts offer it."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from crm.campaigns import queries as campaigns
from crm.content import approval
from crm.content.editor import form_codec, new_email
from crm.content.editor import service as editor
from crm.content.models import ContentItem, ContentVersion
from crm.core.db import db
from crm.core.errors import Invalid, NotAllowed, NotFound
from crm.sequences import queries as sequences
from crm.sequences.models import EmailSequence
from tests.support import factories as support_factories

WRITER, COAUTHOR, DOCTOR, LAWYER = "staff:1", "staff:4", "staff:2", "staff:3"
ENGLISH, SPANISH = "What a first visit is like", "Cómo es una primera visita"
TEXT = {
    "en": "We talk first, and you can ask anything.",
    "es": "Primero hablamos, y usted puede preguntar lo que quiera.",
}


@pytest.fixture(autouse=True)
def _start(edge, clock):
    support_factories.shipped()


def begin(stream: str = "prospect_edu", pattern: int | None = None, **subjects: str) -> list[ContentVersion]:
    given = subjects or {"en": ENGLISH, "es": SPANISH}
    return list(new_email.begin(subjects=given, stream=stream, pattern=pattern, actor=WRITER))


def write(made: ContentVersion, words: str, *, actor: str = WRITER) -> None:
    parts = form_codec.split_fields(made.source)
    changed = replace(parts, body=parts.body.replace("…", words))
    editor.save(made.id, parts=changed, base=made.version, actor=actor)


def pattern(key: str = "contact-request/01-welcome") -> ContentItem:
    return db.session.scalars(select(ContentItem).where(ContentItem.key == key)).one()


@pytest.mark.parametrize("stream", new_email.AUDIENCES)
def test_a_blank_needs_nothing_but_words(stream):
    for made in begin(stream):
        with pytest.raises(Invalid) as refused:
            approval.submit(made.id, actor=WRITER)
        assert refused.value.fields == {"body": ["Replace the line “…” with your text."]}
        write(made, TEXT[made.language])
        assert approval.submit(made.id, actor=WRITER).state == "in_review"


def test_once_approved_it_is_offered():
    sequence = db.session.scalars(select(EmailSequence).where(EmailSequence.key == "contact-request")).one()
    english, spanish = begin()
    assert english.item.key == "own/what-a-first-visit-is-like"
    assert english.item_id == spanish.item_id
    choice = (english.item.key, ENGLISH)
    assert choice not in sequences.addable(sequence.id)
    for made in (english, spanish):
        write(made, TEXT[made.language])
        approval.submit(made.id, actor=WRITER)
        approval.approve(made.id, actor=DOCTOR, roles=["clinician"], kind="clinical")
        approval.approve(made.id, actor=LAWYER, roles=["marketer"], kind="compliance")
    assert choice in sequences.addable(sequence.id)
    assert choice in campaigns.items()


def test_a_pattern_gives_its_words_and_its_kind_of_people():
    model = pattern("referring-provider/02-evidence")
    english, spanish = begin("prospect_edu", model.id)
    assert english.item.stream == "provider_nurture"
    for made in (english, spanish):
        source = editor.example(model.id, language=made.language)
        assert form_codec.split_fields(made.source).body == form_codec.split_fields(source.source).body
    assert (english.subject, spanish.subject) == (ENGLISH, SPANISH)


@pytest.mark.parametrize("state", ["approved", "draft"])
def test_authors_do_not_approve_a_copy_of_their_draft(state):
    model = pattern()
    if state == "draft":
        written = begin(en="Another one")[0]
        write(written, TEXT["en"], actor=COAUTHOR)
        model = written.item
    copy = begin("", model.id, en=ENGLISH)[0]
    approval.submit(copy.id, actor=WRITER)
    if state == "draft":
        with pytest.raises(NotAllowed, match="You wrote this version"):
            approval.approve(copy.id, actor=COAUTHOR, roles=["clinician"], kind="clinical")
    else:
        assert approval.authors(copy) == {WRITER}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"subjects": {"en": " "}}, "subject_en"),
        ({"subjects": {"en": "WELCOME, and thank you"}}, "subject_en"),
        ({"subjects": {"en": "New"}, "stream": "transactional"}, "stream"),
    ],
)
def test_refusals(given, field):
    subjects = dict(given["subjects"])
    if subjects["en"].startswith("WELCOME"):
        subjects["en"] = editor.example(pattern().id, language="en").subject.upper()
    with pytest.raises(Invalid) as refused:
        new_email.begin(
            subjects=subjects, stream=given.get("stream", "prospect_edu"), pattern=None, actor=WRITER
        )
    assert list(refused.value.fields) == [field]


def test_a_service_email_or_nothing_is_no_pattern():
    with pytest.raises(Invalid):
        begin(pattern=pattern("email/staff-signin").id)
    with pytest.raises(NotFound):
        begin(pattern=0)
    assert "email/staff-signin" not in {
        db.session.get_one(ContentItem, number).key for number, _ in new_email.patterns()
    }
