"""The new words beside the old: nothing that differs is ever called the same."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.content.diff import compare, labeled_sentences
from crm.content.editor import form_codec
from crm.content.render import library

FILE = (library.TEMPLATES / "content" / "contact-request" / "02-understanding.en.md").read_text("utf-8")
TEXT = form_codec.split_fields(FILE)


def kinds(body: str) -> list[str]:
    return [row.kind for row in compare(TEXT, replace(TEXT, body=body)) if row.kind != "same"]


def test_the_same_is_the_same():
    assert {row.kind for row in compare(TEXT, TEXT)} == {"same"}


def test_without_an_old_text_all_is_new():
    assert {row.kind for row in compare(None, TEXT)} == {"added"}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("Pain like this is real.", "Pain like this is not real.", ["changed"]),
        ("Pain like this is real.", "", ["removed"]),
        ("Pain like this is real.", "Pain like this is real. We know.", ["added"]),
        ("{{ clinic_name }}", "{{ clinic_phone }}", ["changed"]),
        ("“Chronic”", "Chronic", ["changed"]),
        ("[[block: not-advice]]", "", ["removed"]),
        ("| education_url]]", "| contact_url]]", ["changed"]),
        ("## What good", "### What good", ["changed"]),
    ],
)
def test_what_differs_is_shown(old, new, found):
    assert old in TEXT.body
    assert kinds(TEXT.body.replace(old, new, 1)) == found


def test_a_changed_word_is_marked_on_both_sides():
    [row] = [
        row
        for row in compare(TEXT, replace(TEXT, subject="Something to see this week"))
        if row.kind == "changed"
    ]
    assert row.part == "subject"
    assert [text for only, text in row.then if only] == ["read"]
    assert [text for only, text in row.now if only] == ["see"]


def test_a_source_is_compared_too():
    claims = (replace(TEXT.claims[0], source="Somebody said so"), *TEXT.claims[1:])
    assert [row.part for row in compare(TEXT, replace(TEXT, claims=claims)) if row.kind != "same"] == [
        "source"
    ]


@given(st.text(alphabet="ab .!?\n-*#“”{}[]()|:1", max_size=200))
def test_nothing_of_a_text_is_lost(body):
    said = [text for part, text in labeled_sentences(replace(TEXT, body=body)) if part == "body"]
    assert "".join("".join(said).split()) == "".join(body.split())
