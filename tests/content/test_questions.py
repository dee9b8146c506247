"""What the claims check asks about a sentence, who may answer, and what becomes of the answer."""

import json

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from crm.content import approval, claims_gate
from crm.content.claims import judge, reader
from crm.content.claims.units import Unit
from crm.content.cli import content
from crm.content.editor import hints
from crm.content.models import Answer, ContentVersion
from crm.content.questions import service as questions
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotAllowed, NotFound
from tests.content.test_approval import DOCTOR, LAWYER, WRITER, approve, draft, write
from tests.support import factories as support_factories
from tests.support.browser_client import signed_in

DOUBTFUL = "The Tuesday group meets in the garden."


@pytest.fixture(autouse=True)
def _unsure(edge, clock, monkeypatch):
    """A reader that asks about one sentence, whatever it has learned."""
    support_factories.shipped()
    sure = reader.read

    def read(unit: Unit, *, language: str) -> reader.Reading:
        if DOUBTFUL[:-1] not in unit.text:
            return sure(unit, language=language)
        return reader.Reading(
            0.4, "ASK", ("promise-of-life", "testimonial"), ("Back on the trail.", "Dance again.")
        )

    monkeypatch.setattr(reader, "read", read)
    _forget()
    yield
    _forget()


def _forget() -> None:
    judge._judged.cache_clear()
    claims_gate._found.cache_clear()


def in_review(add: str = DOUBTFUL) -> ContentVersion:
    made = draft(add)
    approval.submit(made.id, actor=WRITER)
    return made


def give(version: ContentVersion, **other) -> Answer:
    [asked] = questions.questions_of(version)
    said = {
        "authors": {WRITER},
        "actor": DOCTOR,
        "roles": ["clinician"],
        "digest": asked.digest.hex(),
        "verdict": "no_claim",
        "claim": "",
        "reason": "A club meets in the garden.",
    }
    return questions.answer(version, **said | other)


def test_a_question_holds_the_approval_and_not_the_submission():
    made = in_review()
    [asked] = questions.questions_of(made)
    assert asked.kinds == ("promise-of-life", "testimonial")
    assert asked.is_open
    with pytest.raises(NotAllowed, match="Answer each"):
        approve(made)
    give(made)
    assert approve(made)


def test_an_answer_holds_for_the_same_sentence_until_it_changes():
    made = in_review()
    give(made)
    approve(made)
    again = draft("")
    assert [one.is_open for one in questions.questions_of(again)] == [False]
    write(again, f"{DOUBTFUL[:-1]} at noon.")
    assert [one.is_open for one in questions.questions_of(again)] == [False, True]


def test_the_newest_answer_counts_and_a_claim_has_to_change():
    made = in_review()
    give(made)
    give(made, actor=LAWYER, roles=["marketer"], verdict="claim", reason="It reads as a promise.")
    [asked] = questions.questions_of(made)
    assert asked.is_open
    with pytest.raises(NotAllowed):
        approve(made)


@pytest.mark.parametrize(
    ("other", "refusal"),
    [
        ({"actor": WRITER}, NotAllowed),
        ({"roles": ["front_desk"]}, NotAllowed),
        ({"digest": "00"}, NotFound),
        ({"verdict": "perhaps"}, Invalid),
        ({"verdict": "supported"}, Invalid),
        ({"reason": " "}, Invalid),
    ],
)
def test_who_may_not_answer_and_what_an_answer_needs(other, refusal):
    made = in_review()
    with pytest.raises(refusal):
        give(made, **other)


def test_only_a_version_in_review_is_answered_about():
    made = draft(DOUBTFUL)
    with pytest.raises(Conflict):
        give(made)


def test_the_database_refuses_an_answer_without_its_claim():
    made = in_review()
    row = give(made, verdict="supported", claim="prevalence")
    with pytest.raises(IntegrityError, match="claim"), db.session.begin_nested():
        db.session.execute(text("update content_answer set claim = '' where id = :id"), {"id": row.id})


def test_answers_become_lines_of_the_corpus(app, tmp_path):
    made = in_review()
    row = give(made, verdict="claim", reason="It reads as a promise.")
    assert list(questions.corpus_lines()) == [
        {
            "id": f"answer-{row.id}",
            "lang": "en",
            "where": "body",
            "text": DOUBTFUL,
            "expect": ["promise-of-life", "testimonial"],
        }
    ]
    give(made)
    done = app.test_cli_runner().invoke(content, ["answers", str(tmp_path / "answers.jsonl")])
    assert done.exit_code == 0
    [line] = (tmp_path / "answers.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["expect"] == []


def test_the_editor_shows_a_question_once_and_does_not_stop():
    report = hints.check_version(draft(DOUBTFUL))
    [one] = report.findings
    assert one.asks
    assert one.nearest
    assert not report.stops


def test_a_reviewer_answers_on_the_page_of_the_version(client, database):
    signed_in(database, "marketer")  # the author
    made = in_review()
    [asked] = questions.questions_of(made)
    db.session.commit()
    visitor = signed_in(database, "clinician")
    page = visitor.get(f"/console/content/versions/{made.id}")
    assert "Needs an answer" in page.text
    assert "Dance again." in page.text
    sent = {"digest": asked.digest.hex(), "verdict": "no_claim", "reason": "A club meets there."}
    assert visitor.post(f"/console/content/questions/versions/{made.id}", sent).status_code == 302
    assert "A club meets there." in visitor.get(f"/console/content/versions/{made.id}").text
