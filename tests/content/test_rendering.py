"""Rendering: once for a batch, the same for each person, and nothing a name can do about it."""

import html
import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.content.render import merge_fields
from crm.content.render.fields import URL_FIELDS, ContentError
from crm.content.render.library import load_library
from crm.content.render.rendering import (
    ClinicFacts,
    content_hash,
    parse,
    personalise,
    render,
    render_page,
    substitutions,
)

LIBRARY = load_library()
BLOCKS, LAYOUT = LIBRARY.blocks["en"], LIBRARY.layout
CLINIC = ClinicFacts(
    name="Pacific Pain & Wellness Group",
    short_name="Pacific Wellness Group",
    phone="+1 555 010 0199",
    address="100 Example Street, Exampleton, CA 90000",
    public_url="https://clinic.example",
)
FIELDS = {
    "first_name": "Ana",
    "signup_date": "May 3, 2026",
    "unsubscribe_url": "https://clinic.example/u/abc?x=1&y=2",
    "preferences_url": "https://clinic.example/p/abc",
}
FRONT = """---
subject: "Welcome {{ first_name }}"
preheader: "Two minutes."
purpose: "Show the rendering."
stream: prospect_edu
language: en
cta: preferences_url
---

"""
BUTTON = "\n\n[[button: Go on | preferences_url]]\n"
HELLO = "Hello {{ first_name }},\n\nThank you, {{ first_name }}. Your day: {{ signup_date }}."


def made(body: str = HELLO, *, clinic: ClinicFacts = CLINIC, front: str = FRONT):
    return render(parse(front + body + BUTTON), blocks=BLOCKS, layout=LAYOUT, clinic=clinic)


RENDERED = made()


class Words(HTMLParser):
    """The text of a page, and the addresses it links to."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.links, self.tags = "", [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data):
        self.text += data


def test_the_subject_text_and_page_carry_the_values() -> None:
    mail = personalise(RENDERED, FIELDS)
    assert mail.subject == "Welcome Ana"
    assert mail.text.startswith("Hello Ana,\n\nThank you, Ana. Your day: May 3, 2026.\n\nGo on:\n")
    assert "https://clinic.example/u/abc?x=1&y=2" in Words(mail.html).links
    assert "\nhttps://clinic.example/u/abc?x=1&y=2\n" in mail.text
    assert RENDERED.fields == {"first_name", "signup_date", "unsubscribe_url", "preferences_url"}


@pytest.mark.parametrize(
    ("written", "name", "read"),
    [
        ('{{ first_name | default: "there" }}', "", "there"),
        ('{{ first_name|default:"María & co." }}', " ", "María & co."),
        ("{{ first_name | default: “there” }}", "ana", "ana"),
        ('{{ first_name | capitalize | default: "there" }}', "ana", "Ana"),
        ('{{ first_name | default: "there" | capitalize }}', "", "There"),
        ("Dear {{ first_name | capitalize }}", "élie", "Dear Élie"),
        ("Dear {{ first_name | capitalize }}", "", "Dear"),
    ],
)
def test_a_first_name_has_defaults_and_filters(written: str, name: str, read: str) -> None:
    rendered = made(f"Hello.\n\n{written}.")
    assert "first_name" in rendered.fields
    mail = personalise(rendered, FIELDS | {"first_name": name})
    assert f"{read}." in mail.text
    assert f"{html.escape(read)}." in mail.html
    values = substitutions(FIELDS | {"first_name": name}, wanted=rendered.placeholders)
    sent = rendered.text
    for key, value in values.items():
        sent = sent.replace(key, value)
    assert sent == mail.text


@pytest.mark.parametrize("name", [None, "", "  ", "\u202e\u200b\x00"])
def test_a_missing_first_name_reads_naturally(name: str | None) -> None:
    fields = {key: value for key, value in FIELDS.items() if key != "first_name"}
    mail = personalise(RENDERED, fields if name is None else fields | {"first_name": name})
    assert mail.subject == "Welcome"
    assert mail.text.startswith("Hello,\n\nThank you. Your day")
    assert "Hello," in Words(mail.html).text


MARKDOWN = [
    ("# One\n\ntwo", "<h1>One</h1>", "One\n===\n\ntwo"),
    ("**bold** and *soft*", "<strong>bold</strong> and <em>soft</em>", "bold and soft"),
    ("- a\n- b\n  c\n\nd", "<li>a</li>", "- a\n- b c\n\nd"),
    ("1. a\n2. b", "<ol>", "1. a\n2. b"),
    ("> said", "<blockquote>", "> said"),
    ("a\\\nb", "a<br>", "a\nb"),
    ("x " * 50, "x x", ("x " * 36).strip() + "\n" + "x x"),
    ("<b>raw</b> & <script>alert(1)</script>", "&lt;script&gt;", "<b>raw</b> & <script>alert(1)</script>"),
    (
        "![alt](https://evil.example/i.png)",
        "!alt (https://evil.example/i.png)",
        "!alt (https://evil.example/i.png)",
    ),
    ("[away](https://evil.example/x)", "away (https://evil.example/x)", "away (https://evil.example/x)"),
    ("[no](javascript:alert(1))", "[no](javascript:alert(1))", "[no](javascript:alert(1))"),
    (
        "[us](https://clinic.example/guide)",
        'href="https://clinic.example/guide"',
        "us:\nhttps://clinic.example/guide",
    ),
    ("[all](education_url)", "/education?lang=en", "all:\nhttps://clinic.example/education?lang=en"),
    (
        "See [us](https://clinic.example/a), or [all](education_url). Call us.",
        ">us</a>, or <a",
        "See us:\nhttps://clinic.example/a\nor all:\nhttps://clinic.example/education?lang=en\nCall us.",
    ),
    ("- [us](https://clinic.example/a)\n- b", "<li><a", "- us:\n  https://clinic.example/a\n- b"),
    ("[x](https://clinic.example.evil.example/)", "x (https://clinic.example.evil.example/)", "x (https"),
    ("[x](//clinic.example/a)", "x (//clinic.example/a)", "x (//clinic.example/a)"),
    ("`x` is text", "`x` is text", "`x` is text"),
]


@pytest.mark.parametrize(("markdown", "in_html", "in_text"), MARKDOWN, ids=[row[0][:24] for row in MARKDOWN])
def test_markdown(markdown: str, in_html: str, in_text: str) -> None:
    mail = personalise(made(markdown), FIELDS)
    assert in_html in re.sub(' style="[^"]*"', "", mail.html)
    assert in_text in mail.text


def test_only_home_is_linked() -> None:
    page = Words(
        made("[a](https://evil.example) [b](mailto:x@y.z) [c](preferences_url) {{ unsubscribe_url }}").html
    )
    assert {link for link in page.links if "clinic.example" not in link} == {
        "[%h:preferences_url%]",
        "[%h:unsubscribe_url%]",
    }
    assert "script" not in page.tags
    assert "img" not in page.tags


@pytest.mark.parametrize(
    "body", ["&#91;%t:first_name%]", "\\[\\%t:first_name%\\]", "[**%t:first_name%]**", "&#123;{ x"]
)
def test_text_that_turns_into_a_placeholder_on_the_way_is_refused(body: str) -> None:
    with pytest.raises(ContentError):
        made(body)


def test_a_mail_without_a_postal_address_is_refused() -> None:
    with pytest.raises(ContentError) as refused:
        made(clinic=replace(CLINIC, address=" "))
    assert refused.value.field == "clinic_address"


def test_a_block_in_another_language_is_refused() -> None:
    with pytest.raises(ContentError, match="footer"):
        render(parse(FRONT + HELLO + BUTTON), blocks=LIBRARY.blocks["es"], layout=LAYOUT, clinic=CLINIC)


def test_a_missing_block_is_named() -> None:
    with pytest.raises(ContentError, match="holiday"):
        made("[[block: holiday]]")


@pytest.mark.parametrize(
    "layout",
    [
        LAYOUT.replace("<mj-style>", "<mj-style>@import url(https://evil.example/a.css);"),
        LAYOUT.replace("{{ footer }}", '{{ footer }}<img src="https://evil.example/p.gif" />'),
        LAYOUT.replace("</mj-body>", ""),
    ],
    ids=["stylesheet", "pixel", "broken"],
)
def test_a_layout_that_fetches_or_breaks_is_refused(layout: str) -> None:
    with pytest.raises(ContentError) as refused:
        render(parse(FRONT + HELLO + BUTTON), blocks=BLOCKS, layout=layout, clinic=CLINIC)
    assert refused.value.field == "layout"


def test_the_hash_covers_the_file_its_blocks_and_the_layout() -> None:
    source = parse(FRONT + HELLO + "\n\n[[block: off-label]]" + BUTTON)
    first = content_hash(source, blocks=BLOCKS, layout=LAYOUT)
    others = {
        content_hash(parse(source.text + " "), blocks=BLOCKS, layout=LAYOUT),
        content_hash(source, blocks=BLOCKS, layout=LAYOUT + " "),
        content_hash(source, blocks={**BLOCKS, "off-label": BLOCKS["off-label"] + " "}, layout=LAYOUT),
        content_hash(source, blocks={**BLOCKS, "footer": BLOCKS["footer"] + " "}, layout=LAYOUT),
    }
    assert len(others | {first}) == 5
    unused = {**BLOCKS, "risk-full": "changed"}
    assert content_hash(source, blocks=unused, layout=LAYOUT) == first


HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "O'Brien & Söhne", "a\r\nBcc: all@example.org",
    "[%t:unsubscribe_url%]", "[%", "%]", "{{unsubscribe}}", "{{{x}}}", "{{7*7}}", "<%asm_group_unsubscribe_raw_url%>",
    "-name-", "%h:first_name%]", "\u202eevil\u202c", "José María", "李小龍", "👩🏽‍⚕️", "\x00\x01", "\ue000first_name\ue001",
    "]]>", "&lt;b&gt;", "&#91;%", "a" * 500, "\\1\\g<0>", "${x}", "#{x}",
]  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from([*HOSTILE, " ", "[", "%", "]", "{", "h:", "t:first_name"]), max_size=5).map(
        "".join
    ),
    st.text(max_size=80),
)


def sent(text: str, values: dict[str, str]) -> str:
    """What a provider does: replace every key, in whatever order, and again for good measure."""
    for _ in range(2):
        keys = list(values)
        random.Random(len(text)).shuffle(keys)
        for key in keys:
            text = text.replace(key, values[key])
    return text


@given(name=NAMES, date=NAMES)
@settings(max_examples=400, deadline=None)
def test_a_batch_mail_is_the_personal_mail(name: str, date: str) -> None:
    fields = FIELDS | {"first_name": name, "signup_date": date}
    mail = personalise(RENDERED, fields)
    for wanted in (RENDERED.placeholders, None):
        values = substitutions(fields, wanted=wanted)
        assert sent(RENDERED.subject, values) == mail.subject
        assert sent(RENDERED.text, values) == mail.text
        assert sent(RENDERED.html, values) == mail.html


@given(name=NAMES)
@settings(max_examples=400, deadline=None)
def test_a_name_stays_a_name(name: str) -> None:
    values = substitutions({"first_name": name})
    assert not [
        value
        for value in values.values()
        if any(mark in value for mark in ("[", "{{", "<", "\r", "\n", "\x00"))
    ]
    mail = personalise(RENDERED, FIELDS | {"first_name": name})
    shown = merge_fields.clean(name)[: merge_fields.LONGEST_NAME].rstrip()
    page = Words(mail.html)
    assert page.tags == Words(personalise(RENDERED, FIELDS).html).tags
    assert (f"Hello {shown}," if shown else "Hello,") in page.text
    assert len(mail.subject.splitlines()) == 1
    assert len(mail.text.split("\n\n")) == len(personalise(RENDERED, FIELDS).text.split("\n\n"))


@given(left=NAMES, right=NAMES)
@settings(max_examples=200, deadline=None)
def test_neighboring_values_do_not_join_into_a_placeholder(left: str, right: str) -> None:
    rendered = made("x {{ first_name }}{{ signup_date }} [a {{ signup_date }}]")
    fields = FIELDS | {"first_name": left, "signup_date": right}
    assert sent(rendered.text, substitutions(fields)) == personalise(rendered, fields).text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        "https://a.example/ x",
        'https://a.example/"',
        "https://a.example/[%",
        "https:/a",
    ],
)
def test_a_link_that_is_not_an_address_is_refused(url: str) -> None:
    with pytest.raises(ContentError, match="preferences_url"):
        personalise(RENDERED, FIELDS | {"preferences_url": url})


def test_a_wanted_value_that_is_missing_is_named() -> None:
    with pytest.raises(ContentError, match="signup_date"):
        substitutions(
            {key: value for key, value in FIELDS.items() if key != "signup_date"},
            wanted=RENDERED.placeholders,
        )


def test_an_unknown_value_is_refused() -> None:
    with pytest.raises(ContentError, match="diagnosis"):
        substitutions({"diagnosis": "x"})


def test_what_is_static_is_computed_once() -> None:
    static = substitutions({"signup_date": "today"})
    values = substitutions(FIELDS, wanted=RENDERED.placeholders, static=static)
    assert values["[%t:signup_date%]"] == "today"
    assert values["[%t:first_name_space%]"] == " Ana"


def test_personal_values_fit_what_a_provider_takes() -> None:
    """SendGrid allows 10,000 bytes of substitutions for each recipient."""
    url = "https://clinic.example/" + "&" * 370
    longest = {
        "first_name": "<" * 500,
        "signup_date": "&" * 500,
        "unsubscribe_url": url,
        "preferences_url": url,
    }
    values = substitutions(longest, wanted=RENDERED.placeholders)
    assert sum(len(key.encode()) + len(value.encode()) for key, value in values.items()) < 10_000
    plain = substitutions(FIELDS, wanted=RENDERED.placeholders)
    assert sum(len(key.encode()) + len(value.encode()) for key, value in plain.items()) < 1_000


def test_a_value_that_needs_no_escaping_is_looked_at_once() -> None:
    """What a batch of 1,000 costs is mostly this, so the work per person is counted: a look per field, none per place."""
    looks = merge_fields._value.__name__, merge_fields.escape.__name__
    person = FIELDS | {"signup_date": "3 May 2026"}
    counted = _calls(lambda: substitutions(person, wanted=RENDERED.placeholders))
    spaced = {"first_name_space", "first_name_comma"}  # each carries the name with what stands before it
    fields = {one.field for one in RENDERED.placeholders} | spaced
    places = [one for one in RENDERED.placeholders if one.field in URL_FIELDS]
    assert counted[looks[0]] <= len(fields) + len(places)
    assert counted[looks[1]] <= len(fields)
    assert counted["clean"] == 0
    static = {one.key: "x" for one in RENDERED.placeholders if "first_name" not in one.field}
    again = _calls(lambda: substitutions(person, wanted=RENDERED.placeholders, static=static))
    assert again[looks[0]] < counted[looks[0]]


def _calls(work: Callable[[], object]) -> Counter[str]:
    """How often each function of the module is called meanwhile."""
    counted: Counter[str] = Counter()

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_globals.get("__name__") == merge_fields.__name__:
            counted[frame.f_code.co_name] += 1

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted


def test_clinic_facts_are_escaped_where_they_stand() -> None:
    mail = made("We are {{ clinic_name }}.")
    assert "We are Pacific Pain & Wellness Group." in mail.text
    assert "We are Pacific Pain &amp; Wellness Group." in mail.html
    assert html.unescape(mail.html).count("Pacific Pain & Wellness Group") >= 3


def test_a_page_is_not_mailed_and_a_mail_is_not_a_page() -> None:
    page = LIBRARY.pages["education", "en"]
    with pytest.raises(ContentError):
        render(page, blocks=BLOCKS, layout=LAYOUT, clinic=CLINIC)
    with pytest.raises(ContentError):
        render_page(parse(FRONT + HELLO + BUTTON), blocks=BLOCKS, clinic=CLINIC)
    shown = render_page(page, blocks=BLOCKS, clinic=CLINIC)
    assert shown.title.startswith("Ketamine and chronic pain")
    assert "https://clinic.example/contact?lang=en" in Words(shown.html).links
