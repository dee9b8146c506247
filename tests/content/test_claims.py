"""The claims check: what it finds, what it leaves alone, that it is quick, and what the commands print."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from crm.content.claims import (
    BadRules,
    Severity,
    check,
    check_content,
    check_rules,
    check_text,
    engine,
    rulebook,
)
from crm.content.claims.corpus import measure, read_lines
from crm.content.claims.readability import (
    english_syllables,
    fernandez_huerta,
    flesch_kincaid,
    spanish_syllables,
    too_hard,
)
from crm.content.claims.sentences import sentences
from crm.content.claims_gate import check_hosts, neutral_sender
from crm.content.cli import content
from crm.content.render.source import Block, Source, parse, parse_block
from crm.core.config import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CORPUS = [
    path
    for path in sorted((Path(__file__).parent / "corpus").glob("*.jsonl"))
    if not path.name.startswith("blind-")  # read by the figures only
]
SHIPPED = sorted(
    path
    for folder in ("content", "email")
    for path in (ROOT / "templates" / folder).rglob("*.md")
    if "blocks" not in path.parts
)
SEED = ROOT.parent / "shared" / "seed" / "ketamine-chronic-pain.txt"

ARTICLE = """Ketamine has served hospitals safely for decades, and it is a promising choice when other treatments have failed.
What it does
Our infusions shut off pain signals and restore normal nerve function.
A paper published in the National Library of Medicine found that ketamine significantly lowered pain.
It has shown effectiveness in treating many chronic pain conditions:
- Fibromyalgia
- Migraine
- Low risk of dependency: unlike opioids, it is not addictive.
It is generally well tolerated. Side effects are short-lived:
- Nausea
- Mild hallucinations
"We give relief to people with treatment-resistant pain," says Dr. Moreno, founder of the clinic.
This breakthrough offers hope to everyone.
"""

WORST = {
    "safe", "addiction", "condition-list", "minimises-side-effects", "off-label-missing", "risk-missing", "last-resort",
    "mechanism", "hype", "efficacy", "comparison", "source-misattributed",
}  # fmt: skip


def ids(text: str, language: str = "en", where: str = "body") -> set[str]:
    return {one.id for one in check(text, language=language, where=where)}


def blocking(text: str, language: str = "en") -> set[str]:
    return {one.id for one in check(text, language=language) if one.blocks}


# ---- how well it tells them apart -------------------------------------------------------------------------------------


def test_the_corpus_is_large_and_even() -> None:
    lines = [line for path in CORPUS for line in read_lines(path)]
    good = sum(not line.expect for line in lines)
    assert len(lines) >= 1000
    assert 0.4 < good / len(lines) < 0.6
    assert {(line.language, line.where) for line in lines} == {
        (a, b) for a in ("en", "es") for b in ("body", "subject")
    }
    assert len({line.id for line in lines}) == len(lines)


def test_precision_and_recall_overall_per_language_and_per_rule() -> None:
    scores = measure(line for path in CORPUS for line in read_lines(path))
    short = {
        name: (score.false_alarms, score.missed)
        for name, score in scores.items()
        if min(score.precision, score.recall) < 0.95
    }
    assert short == {}


def test_the_corpus_names_kinds_that_have_a_reason_and_a_source() -> None:
    expected = {rule for path in CORPUS for line in read_lines(path) for rule in line.expect or ()}
    assert expected <= {rule.id for rule in rulebook("en").rules}
    assert {rule.id for rule in rulebook("en").rules if rule.patterns} <= expected


def test_rules_are_few_and_each_is_right_about_the_whole_corpus() -> None:
    books = [rulebook(language) for language in ("en", "es")]
    guards = sum(len(one.patterns) + len(one.not_these) for book in books for one in book.guards.values())
    rules = [rule for book in books for rule in book.rules]
    lines = sum(len(rule.patterns) + len(rule.exceptions) + len(rule.denied) for rule in rules)
    assert lines + guards + sum(len(book.breaks) for book in books) <= 600
    wrong = [
        (line.id, one.id)
        for path in CORPUS
        for line in read_lines(path)
        if not line.expect and not line.before
        for one in check_rules(line.text, language=line.language, where=line.where)
    ]
    assert wrong == []


@pytest.mark.skipif(not SEED.exists(), reason="the clinic's article is not on this machine")
def test_the_clinics_own_article_fails() -> None:
    found = {one.id for one in check_text(SEED.read_text("utf-8"), language="en")}
    assert found >= WORST
    words = " ".join(one.words.lower() for one in check(SEED.read_text("utf-8"), language="en"))
    for worst in (
        "used safely",
        "low risk of dependency",
        "shown effectiveness",
        "well-tolerated",
        "national library",
    ):
        assert worst in words


def test_an_article_like_it_fails_everywhere() -> None:
    assert {one.id for one in check_text(ARTICLE, language="en")} >= WORST


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shipped_content_has_no_finding(path: Path) -> None:
    source = parse(path.read_text("utf-8"))
    found = check_content(source, blocks=_blocks(source.language))
    assert [(one.id, one.where, one.words, one.why) for one in found] == []


@pytest.mark.parametrize("language", ["en", "es"])
def test_suggested_wording_passes_its_own_rules(language: str) -> None:
    for rule in rulebook(language).rules:
        assert check_rules(rule.suggestion, language=language) == [], rule.id


# ---- what excuses and what does not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "rule", "good"),
    [
        ("Ketamine cures pain.", "cure", "Ketamine does not cure pain."),
        ("It is a cure, not a bandage.", "cure", "It is not a cure, a fix or an answer to pain."),
        ("It is not a drug for all, but it cures pain.", "cure", "No drug, infusion or pill cures pain."),
        ("No side effects.", "minimises-side-effects", "There is no drug with no side effects."),
        ("Ketamine never fails.", "absolute", "Ketamine can fail."),
        ("It not only eases pain, it lifts mood.", "efficacy", "It may ease pain in some people."),
        (
            "“Ketamine gives relief,” says Dr. Lee.",
            "efficacy",
            "“Ketamine may help some people,” says Dr. Lee.",
        ),
        ("Is it addictive? No.", "addiction", "Could I become addicted? Yes, that is a risk."),
        ("Will it cure me? Yes!", "cure", "Can ketamine cure my pain? No."),
        ("Any side effects? None.", "minimises-side-effects", "What are the side effects?"),
        ("Untreated pain ruins lives.", "fear", "If your pain gets worse, call us."),
        ("Is it safe? Yes, it is safe.", "safe", "Is it safe? That depends on your health."),
        ("Does it work for everyone? Absolutely!", "absolute", "Does it work for everyone?"),
        ("Ready to live without pain?", "promise-of-life", "Do you live with pain?"),
        ("80% of patients improve.", "statistic", "In one trial 80% of patients improved (Rossi 2011)."),
        (
            "In 2024, 80% of our patients improved.",
            "statistic",
            "A 2011 trial found that 30% of patients left early.",
        ),
        ("Safer than opioids.", "comparison", "It is not safer than opioids."),
        ("FDA-approved for pain.", "fda-approval", "It is not FDA-approved for pain."),
        (
            "It is FDA-approved as an anesthetic and for pain.",
            "fda-approval",
            "It is FDA-approved as an anesthetic.",
        ),
        ("Stop taking your opioids.", "stop-medicine", "Do not stop taking your opioids."),
        ("Don’t wait, call now.", "urgency", "Don’t wait: call 911."),
        (
            "One patient told us her pain was gone.",
            "testimonial",
            "We do not share what any patient told us.",
        ),
    ],
)
def test_pairs_in_english(bad: str, rule: str, good: str) -> None:
    assert rule in ids(bad)
    assert blocking(good) == set()


@pytest.mark.parametrize(
    ("bad", "rule", "good"),
    [
        ("La ketamina cura el dolor.", "cure", "La ketamina no cura el dolor."),
        ("Sin efectos secundarios.", "minimises-side-effects", "No hay medicamento sin efectos secundarios."),
        ("Es segura.", "safe", "¿Es segura?"),
        ("¿Es segura? Sí, es segura.", "safe", "No es segura para todas las personas."),
        ("Alivia el dolor.", "efficacy", "Puede aliviar el dolor en algunas personas."),
        ("Aprobada por la FDA para el dolor.", "fda-approval", "La FDA no la ha aprobado para el dolor."),
        ("No espere más.", "urgency", "No espere: llame al 911."),
    ],
)
def test_pairs_in_spanish(bad: str, rule: str, good: str) -> None:
    assert rule in ids(bad, "es")
    assert blocking(good, "es") == set()


@pytest.mark.parametrize(
    "text",
    [
        "Ketamine is GUARANTEED to work",
        "ｇｕａｒａｎｔｅｅｄ results",
        "guaran\u00adteed results",
        "gu\u0430r\u0430nteed results",  # Cyrillic a
        "results are **guaranteed**",
        "No non\u2011addictive drug? This one is non\u2011addictive and guaranteed.",
    ],
)
def test_disguises_do_not_help(text: str) -> None:
    assert blocking(text)


def test_accents_may_be_composed_or_not() -> None:
    for text in ("Curación del dolor.", "Curacio\u0301n del dolor.", "CURACIÓN del dolor."):
        assert "cure" in ids(text, "es")


def test_a_finding_explains_itself_and_points_at_its_words() -> None:
    text = "Visit us. Our infusions are completely safe."
    [one] = [one for one in check(text, language="en") if one.id == "safe"]
    assert text[one.start : one.end] == one.words
    assert one.words.endswith("safe")
    assert one.sentence == "Our infusions are completely safe."
    assert one.severity is Severity.BLOCK
    assert one.blocks
    assert "FDA" in one.why
    assert "risks" in one.suggestion


@pytest.mark.parametrize(
    ("subject", "rule"),
    [
        ("Ketamine and you", "envelope-topic"),
        ("Ketamina y usted", "envelope-topic"),
        ("No more pain talk", "envelope-topic"),
        ("Re: your visit", "envelope-deceptive"),
        ("A" * 79, "envelope-length"),
        ("Hello\r\nBcc: x@example.com", "envelope-break"),
    ],
)
def test_the_envelope_is_neutral_short_and_one_line(subject: str, rule: str) -> None:
    assert rule in ids(subject, "en", "subject")
    assert ids("Something to read this week", "en", "subject") == set()


def test_unknown_language_and_place_are_refused() -> None:
    with pytest.raises(ValueError, match="'fr'"):
        check("Bonjour", language="fr")
    with pytest.raises(ValueError, match="'footer'"):
        check("Hello", language="en", where="footer")


def test_rules_that_cannot_be_read_say_where(tmp_path: Path) -> None:
    broken = tmp_path / "claims.yaml"
    broken.write_text(
        "lists: {en: {}}\nguards: {}\nbreaks: {en: '{NOWHERE}'}\nrules: []\naskers: {en: ''}\naffirmations: {en: ''}\n"
    )
    with pytest.raises(BadRules, match=r"claims.yaml.*NOWHERE"):
        rulebook("en", broken)


def test_sentences_end_where_a_reader_would_end_them() -> None:
    text = "Dr. Lee sees you at 9 a.m. on Monday. Bring:\n- a list\n- a friend\n\nThank you! See p. 3."
    assert [one.text for one in sentences(text)] == [
        "Dr. Lee sees you at 9 a.m. on Monday.",
        "Bring:",
        "a list",
        "a friend",
        "Thank you!",
        "See p. 3.",
    ]


# ---- never fails, never slow ------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=300),
        st.lists(
            st.sampled_from(
                ["safe", "not", "No", "ketamine", "Ketamina", "pain", "cura", "sin", "100", "%", ",", ";", ".", "?", "¿", "\n",
                 "- ", "—", "“", "{{ first_name }}", "[[block: x]]", "é", "n’t", "\u0301", "ß", "İ", "Maria,", "58,", "2009", "("]
            ),
            max_size=60,
        ).map(" ".join),
    ),
    language=st.sampled_from(["en", "es"]),
    where=st.sampled_from(["body", "subject"]),
)  # fmt: skip
def test_any_text_can_be_read_and_every_finding_points_at_its_words(
    text: str, language: str, where: str
) -> None:
    for one in check_rules(text, language=language, where=where):
        assert text[one.start : one.end] == one.words
        assert one.words


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "(",
        " ",
        '"',
        ".",
        "\n",
        "{{",
        "[[",
        "](",
        "safe ",
        "no safe pain ",
        "a\n",
        "1 ",
        "é",
        "ketamine is safe, ",
    ],
)
def test_work_grows_with_length_only(piece: str) -> None:
    def steps(length: int) -> int:
        text = (piece * length)[:length] + str(length)  # a text not read before
        return _calls(lambda: check_rules(text, language="en"))

    steps(100)
    short, long = steps(2_000), steps(8_000)
    assert long < 5 * short + 500


def test_shared_blocks_are_checked_once_while_typing() -> None:
    path = ROOT / "templates" / "content" / "contact-request" / "04-research.en.md"
    source, blocks = parse(path.read_text("utf-8")), _blocks("en")
    check_content(source, blocks=blocks)
    before = engine._checked.cache_info()
    check_content(replace(source, body=f"{source.body}\n\nOne more line.\n"), blocks=blocks)
    after = engine._checked.cache_info()
    assert after.misses == before.misses + 1
    assert after.hits > before.hits


def _calls(work: Callable[[], object]) -> int:
    """How many functions are called meanwhile: work counted, not timed."""
    counted = 0

    def look(frame: FrameType, event: str, _: object) -> None:
        nonlocal counted
        counted += event == "call"

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted


@pytest.mark.parametrize("name", ["Harbor Wellness Group", "Dr. Ananth", "Pacific Wellness Group"])
def test_a_neutral_sender_may_write(name: str) -> None:
    assert neutral_sender(name) == name


@pytest.mark.parametrize(
    "name", ["Pacific Pain Group", "Centro de Ketamina", "Wellness\r\nBcc: all", "W" * 79]
)
def test_a_sender_that_says_what_it_is_about_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(ConfigError, match="CLINIC_SHORT_NAME"):
        neutral_sender(name)


@pytest.mark.parametrize("host", ["mail.arizonapain.example", "infusiones.example", "ketamina-az.example"])
def test_a_host_that_says_what_mail_is_about_is_refused_at_the_start(host: str) -> None:
    check_hosts({"PUBLIC_URL": "clinic.example"})
    with pytest.raises(ConfigError, match="CLINIC_FROM_EMAIL"):
        check_hosts({"PUBLIC_URL": "clinic.example", "CLINIC_FROM_EMAIL": host})


# ---- a whole email ----------------------------------------------------------------------------------------------------

EMAIL = """---
subject: "Something to read this week"
preheader: "A few lines from us."
purpose: "What research says."
stream: prospect_edu
language: en
claims:
  - id: one
    claim: "About 1 in 5 adults lives with pain."
    source: "A survey, 2023."
---

Hello {{ first_name }},

About 1 in 5 adults lives with pain. Ketamine is an anesthetic.

[[block: off-label]]

[[block: risk-short]]

[[block: evidence]]

[[block: not-advice]]

[[block: emergency]]
"""


def _blocks(language: str) -> dict[str, Block]:
    folder = ROOT / "templates" / "content" / "blocks"
    return {
        block.name: block
        for block in (parse_block(path.read_text("utf-8")) for path in folder.glob(f"*.{language}.md"))
    }


def _email(old: str = "", new: str = "") -> Source:
    assert old in EMAIL
    return parse(EMAIL.replace(old, new, 1) if old else EMAIL)


def _found(source: Source, **more: object) -> set[str]:
    return {one.id for one in check_content(source, **{"blocks": _blocks("en"), **more})}  # type: ignore[arg-type]


def test_a_complete_email_has_no_finding() -> None:
    assert _found(_email()) == set()


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("[[block: off-label]]", "", "off-label-missing"),
        ("[[block: risk-short]]", "", "risk-missing"),
        ("[[block: evidence]]", "", "evidence-missing"),
        ("[[block: emergency]]", "", "emergency-missing"),
        ("[[block: not-advice]]", "", "not-advice-missing"),
        ("[[block: evidence]]", "[[block: nowhere]]", "block-language"),
        ("About 1 in 5 adults lives with pain. K", "K", "claim-text"),
        ("About 1 in 5", "About 1 in 4", "claim-text"),
        ("Something to read", "Ketamine to read", "envelope-topic"),
        ("A few lines from us.", "For your migraine.", "envelope-topic"),
        ("is an anesthetic.", "is [safe](https://example.com/).", "link-host"),
        ("is an anesthetic.", "is here: https://clinic.example/chronic-pain", "link-words"),
        ("is an anesthetic.", "is here: https://clinic.example/a?topic=k%65tamine", "link-words"),
        ("is an anesthetic.", "![x](y)", "image"),
        ("is an anesthetic.", "is safe.", "safe"),
    ],
)
def test_what_is_missing_or_wrong_is_found(old: str, new: str, rule: str) -> None:
    assert rule in _found(_email(old, new))


def test_links_may_lead_to_named_hosts_and_link_fields() -> None:
    source = _email("is an anesthetic.", "[here](https://clinic.example/visit) or [there](education_url).")
    assert _found(source, hosts=["clinic.example"]) == set()


def test_a_number_passes_only_with_the_claim_it_stands_for() -> None:
    bare = _email('    source: "A survey, 2023."\n', '    source: "A survey, 2023."\n')
    assert "statistic" in _found(replace(bare, claims=()))


def test_a_warning_in_another_language_does_not_count() -> None:
    assert "block-language" in _found(_email(), blocks=_blocks("es"))


def test_a_footer_needs_the_address_and_a_way_out() -> None:
    blocks = _blocks("en")
    footer = blocks.pop("footer")
    assert "footer-missing" in _found(_email(), blocks=blocks)
    for field in ("clinic_address", "unsubscribe_url"):
        cut = replace(footer, body=footer.body.replace(field, "x"))
        assert "footer-missing" in _found(_email(), blocks={**blocks, "footer": cut})


def test_clinicians_may_see_the_topic_in_the_subject() -> None:
    assert "envelope-topic" not in _found(
        replace(_email(), subject="Ketamine: evidence", stream="provider_nurture")
    )


def test_size_and_reading_level() -> None:
    assert "size" in _found(_email(), html="x" * (102 * 1024 + 1))
    assert "size" not in _found(_email(), html="x" * 102 * 1024)
    hard = "Pharmacological considerations necessitate comprehensive interdisciplinary evaluation. " * 6
    [one] = [
        one
        for one in check_content(replace(_email(), body=hard), blocks=_blocks("en"))
        if one.id == "reading-level"
    ]
    assert one.severity is Severity.WARN
    assert not one.blocks


def test_reading_formulas() -> None:
    assert [english_syllables(word) for word in ("cat", "table", "ketamine", "asked", "needed")] == [
        1,
        2,
        3,
        1,
        2,
    ]
    assert [spanish_syllables(word) for word in ("sol", "aéreo", "ciudad", "guitarra", "país", "muy")] == [
        1,
        4,
        2,
        3,
        2,
        1,
    ]
    assert flesch_kincaid("The cat sat on the mat.") < 1
    assert fernandez_huerta("El gato come pan.") > 80
    assert too_hard("Pharmacology.", language="en") is None
    assert too_hard("La consideración farmacológica interdisciplinaria. " * 12, language="es")


# ---- the commands -----------------------------------------------------------------------------------------------------


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(content, [str(one) for one in arguments])


def test_lines_keep_their_id_and_get_sentence_rules_only(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text(
        '{"id": "a", "lang": "en", "where": "body", "text": "Ketamine cures pain."}\n\n'
        '{"id": "b", "lang": "es", "where": "subject", "text": "Algo para leer"}\n'
        '{"id": "c", "lang": "en", "where": "body", "text": "Ketamine is an anesthetic."}\n',
        "utf-8",
    )
    result = _run("check", file)
    rows = [json.loads(row) for row in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert {row["id"] for row in rows} == {"a"}
    assert {"id", "rule", "severity", "words", "why", "suggestion"} <= set(rows[0])
    assert {row["rule"] for row in rows} == {"cure"}


def test_a_line_keeps_its_id_and_any_sign_inside_its_text(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"id": 7, "lang": "en", "text": "Ketamine\u2028cures pain."}\r\n', "utf-8")
    result = _run("check", file)
    assert {json.loads(row)["id"] for row in result.stdout.split("\n") if row} == {7}


def test_markdown_blocks_and_plain_text_are_checked_as_what_they_are(tmp_path: Path) -> None:
    email, plain = tmp_path / "one.en.md", tmp_path / "two.txt"
    email.write_text(EMAIL, "utf-8")
    plain.write_text("La ketamina es segura.", "utf-8")
    block = ROOT / "templates" / "content" / "blocks" / "risk-full.es.md"
    assert _run("check", email, block).exit_code == 0
    result = _run("check", "--language", "es", plain)
    assert [(json.loads(row)["id"], json.loads(row)["rule"]) for row in result.stdout.splitlines()] == [
        ("two.txt:1", "safe"),
        ("two.txt:2", "off-label-missing"),
        ("two.txt:3", "risk-missing"),
    ]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("bad.jsonl", b'{"id": 1, "lang": "en", "text": "x"}\n{"id"', "line 2: not JSON"),
        ("list.jsonl", b"[1]", "line 1: must be an object"),
        ("lang.jsonl", b'{"id": 1, "lang": "fr", "text": "x"}', "lang must be en or es, not 'fr'"),
        (
            "where.jsonl",
            b'{"id": 1, "lang": "en", "where": "top", "text": "x"}',
            "where must be body or subject",
        ),
        ("id.jsonl", b'{"id": {}, "lang": "en", "text": "x"}', "id.jsonl, line 1: id must be"),
        ("text.jsonl", b'{"id": 1, "lang": "en", "text": 5}', "text must be a string"),
        ("latin.txt", "Buenas.\nCuración".encode("latin-1"), "not UTF-8 text (line 2"),
        ("empty.md", b" \n", "empty"),
        ("empty.jsonl", b"", "empty"),
        ("front.md", b"---\nsubject: [\n---\nHello\n", "front matter"),
        ("field.md", EMAIL.replace("first_name", "ssn").encode(), "ssn"),
    ],
)
def test_what_cannot_be_read_is_said_plainly(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    result = _run("check", tmp_path / name)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""


def test_a_missing_file_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("Guaranteed.")
    result = _run("check", tmp_path / "gone.txt", tmp_path / "there.txt")
    assert result.exit_code == 2
    assert "gone.txt: No such file" in result.stderr
    assert '"guarantee"' in result.stdout


def test_the_corpus_command_prints_scores_and_fails_below_the_bar(tmp_path: Path) -> None:
    good = _run("corpus", min(CORPUS, key=lambda path: path.stat().st_size))
    assert good.exit_code == 0
    assert good.stdout.startswith("all ")
    worse = tmp_path / "worse.jsonl"
    worse.write_text('{"id": "x", "lang": "en", "text": "We are open on Monday.", "expect": ["cure"]}\n')
    result = _run("corpus", worse)
    assert result.exit_code == 1
    assert "missed: x" in result.stdout
    assert _run("corpus", tmp_path / "none.jsonl").exit_code == 2
