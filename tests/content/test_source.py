"""Reading content files: what is taken as it stands, and what is refused and why."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.content.render.source import BlockRef, Button, Claim, ContentError, Prose, parse, parse_block

EMAIL = """---
subject: "Something to read"
preheader: "Two minutes."
purpose: "Show how a file looks."
stream: prospect_edu
language: en
claims:
  - id: prevalence
    claim: "About 1 in 5 adults lives with it."
    source: "CDC. doi:10.15585/mmwr.mm7215a1"
blocks: [off-label]
cta: preferences_url
---

Hello {{ first_name }},

About 1 in 5 adults lives with it.

[[block: off-label]]

[[button: Set your preferences | preferences_url]]

Goodbye.
"""


def changed(old: str, new: str) -> str:
    assert old in EMAIL
    return EMAIL.replace(old, new)


def test_a_file_is_read_whole() -> None:
    source = parse(EMAIL)
    assert source.subject == "Something to read"
    assert source.claims == (
        Claim(
            id="prevalence",
            claim="About 1 in 5 adults lives with it.",
            source="CDC. doi:10.15585/mmwr.mm7215a1",
        ),
    )
    assert source.parts == (
        Prose("Hello {{ first_name }},\n\nAbout 1 in 5 adults lives with it."),
        BlockRef("off-label"),
        Button("Set your preferences", "preferences_url"),
        Prose("Goodbye."),
    )
    assert (source.cta, source.blocks, source.transactional) == ("preferences_url", ("off-label",), False)


@pytest.mark.parametrize(
    "text",
    [EMAIL, EMAIL.replace("\n", "\r\n"), EMAIL + "\n \n", EMAIL.replace("Goodbye", "Adiós, señora · ñ 👋")],
)
def test_import_and_export_are_the_same_to_the_byte(text: str) -> None:
    assert parse(text).text.encode() == text.encode()


REFUSED = [
    ("no front matter", "Hello", "front matter"),
    ("unreadable YAML", changed("purpose:", "purpose: ]["), "front matter"),
    ("not a mapping", "---\n- a\n---\nHello", "front matter"),
    ("no body", EMAIL[: EMAIL.rindex("---\n") + 4] + "\n", "body"),
    ("unknown key", changed("purpose:", "colour: red\npurpose:"), "colour"),
    ("no subject", changed('subject: "Something to read"\n', ""), "subject"),
    ("a subject in two lines", changed('"Something to read"', '"Something\\nBcc: x"'), "subject"),
    ("unknown stream", changed("prospect_edu", "newsletter"), "stream"),
    ("unknown language", changed("language: en", "language: fr"), "language"),
    ("a claim without a source", changed('    source: "CDC. doi:10.15585/mmwr.mm7215a1"\n', ""), "claims"),
    ("a block name that is a path", changed("blocks: [off-label]", "blocks: [../x]"), "blocks"),
    ("a required block that is missing", changed("[[block: off-label]]", ""), "blocks"),
    ("a call to action that is not a link", changed("cta: preferences_url", "cta: first_name"), "cta"),
    ("no button", changed("[[button: Set your preferences | preferences_url]]", ""), "cta"),
    ("two buttons", changed("Goodbye.", "[[button: Again | preferences_url]]"), "cta"),
    ("a button elsewhere", changed("cta: preferences_url", "cta: contact_url"), "cta"),
    ("a button to an address", changed("| preferences_url]]", "| https://evil.example]]"), "body"),
    ("a block inside a line", changed("Goodbye.", "Goodbye. [[block: off-label]]"), "body"),
    ("unknown merge field", changed("Goodbye.", "{{ diagnosis }}"), "body"),
    ("a field of other mail", changed("Goodbye.", "{{ reference }}"), "body"),
    ("a field in the wrong subject", changed("Something to read", "For {{ confirm_url }}"), "subject"),
    ("an expression", changed("Goodbye.", "{{ 7*7 }}"), "body"),
    ("an attribute", changed("Goodbye.", "{{ first_name.__class__ }}"), "body"),
    ("a statement", changed("Goodbye.", "{% include 'x' %}"), "body"),
    ("a placeholder", changed("Goodbye.", "[%t:first_name%]"), "body"),
    ("another template language", changed("Goodbye.", "<%= x %>"), "body"),
    ("a mark of the renderer's own", changed("Goodbye.", "\ue000first_name\ue001"), "body"),
    ("a filter that is none", changed("Goodbye.", "Bye {{ first_name | shout }}"), "body"),
    (
        "a default that is a placeholder",
        changed("Goodbye.", 'Bye {{ first_name | default: "[%x%]" }}'),
        "body",
    ),
    ("a filter of another field", changed("Goodbye.", "{{ clinic_name | capitalize }}"), "body"),
    ("a first name that may leave a hole", changed("Goodbye.", "{{ first_name }}, goodbye."), "body"),
    ("too long", EMAIL + "x" * 60_000, "body"),
]


@pytest.mark.parametrize(("text", "field"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_used_is_refused_by_name(text: str, field: str) -> None:
    with pytest.raises(ContentError) as refused:
        parse(text)
    assert refused.value.field == field
    assert refused.value.fields[field]


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ContentError, match="diagnosis"):
        parse(changed("Goodbye.", "{{ diagnosis }}"))


def test_a_transactional_mail_says_why_it_comes() -> None:
    with pytest.raises(ContentError) as refused:
        parse(changed("stream: prospect_edu", "stream: transactional"))
    assert refused.value.field == "why"


@pytest.mark.parametrize("body", ["[[block: footer]]", "[[button: Go | contact_url]]", "{{ password }}"])
def test_a_block_holds_only_text(body: str) -> None:
    with pytest.raises(ContentError):
        parse_block(f"---\nblock: x\nlanguage: en\n---\n{body}\n")


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_but_never_changed(text: str) -> None:
    for whole in (text, EMAIL + text, re.sub("Goodbye", lambda _: text, EMAIL)):
        with contextlib.suppress(ContentError):
            assert parse(whole).text == whole
