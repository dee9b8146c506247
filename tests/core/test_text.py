"""Cleaning text that people type or paste."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crm.core.text import MEANS_NOTHING, ascii_name, clean, clean_name_signs, first_unreadable, fold

ENGLAND = "🏴" + "".join(map(chr, (0xE0067, 0xE0062, 0xE0065, 0xE006E, 0xE0067, 0xE007F)))
PASTED = [
    ("\uf0b7 CRPS\u000b\uf0b7 failed meds", "• CRPS\n• failed meds"),
    ("neuro\u00adpathic", "neuropathic"),
    ("page 1\fpage 2", "page 1\npage 2"),
    ("left\u200eright", "leftright"),
    ("a\u2028b\u2029c\x85d\r\ne\rf", "a\nb\nc\nd\ne\nf"),
    ("ana@example.com\u00a0", "ana@example.com"),
    ("\u200bana@example.com", "ana@example.com"),
    ("\ufeffname", "name"),
    ("Ana\u00a0Maria", "Ana Maria"),
    ("Ana\u3000Maria", "Ana Maria"),
    ("O´Brien O`Brien O‘Brien O′Brien", "O’Brien O’Brien O’Brien O’Brien"),
    ("O\x92Connell", "O’Connell"),
    ("Pen\u0303a", "Peña"),
    ("a‘quoted’ word and 5′10", "a’quoted’ word and 5′10"),
    ("‘quoted’", "‘quoted’"),
    ("fill\u3164er\u034f", "filler"),
    ("می\u200cخواهم", "می\u200cخواهم"),  # Persian is spelled with a non-joiner
    ("क्\u200dष", "क्\u200dष"),  # and Hindi with a joiner
    ("Li\u200cam Li\u200dam", "Liam Liam"),
    ("213-\u200c555-0142", "213-555-0142"),
    ("ana\u200b\u200c@x\u200d.test", "ana@x.test"),
    ("می\u200c\u200cخ", "می\u200cخ"),
    ("می\u200cA", "میA"),
    ("a\ufe0fb", "ab"),
    ("1\ufe0f\u20e3", "1\ufe0f\u20e3"),  # the picture of a key
    ("❤\ufe0f\u200d🔥", "❤\ufe0f\u200d🔥"),
    ("Thanks \uf04a", "Thanks ☺"),
    ("a\uf020b \uf0e8 \uf0df \uf0f3 \uf0de \uf0fe \uf0b2 \uf075", "a b → ← ↔ ⇒ ☑ • •"),
    ("x\u200d", "x"),
    ("\u200dx", "x"),
    ("❤\ufe0f ok", "❤\ufe0f ok"),
    ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
    (ENGLAND, ENGLAND),
    ("tag\U000e0067ged", "tagged"),
    ("\U0001fae9 new emoji", "\U0001fae9 new emoji"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "cleaned"), PASTED)
def test_clean(given, cleaned):
    assert clean(given) == cleaned
    assert first_unreadable(cleaned) is None


@pytest.mark.parametrize("code", range(0xF020, 0xF100), ids=hex)
def test_symbols_of_word_processors_are_shown(code):
    assert first_unreadable(clean(f"a{chr(code)}b")) is None


def test_clean_one_line():
    assert clean(" a\u000bb\t c\u2028", lines=False) == "a b c"


MIXED = st.text("aé1@.می्क\u0301\ufe0f\u200c\u200d\u200b❤👧🔥⃣ \n")


@given(st.text() | MIXED)
@example("e\u200d\u0301")
@example("\u212a\u200dक")
@example("a\ufe0f\ufe0f\u200d\u200d\u0301")
def test_clean_is_idempotent(text):
    for lines in (True, False):
        once = clean(text, lines=lines)
        assert clean(once, lines=lines) == once


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs", "Cf", "Mn"))))
def test_clean_loses_no_visible_letter(text):
    inkless = set("\u115f\u1160\u3164\uffa0")
    letters = [
        c
        for c in unicodedata.normalize("NFC", text)
        if unicodedata.category(c)[0] in "LN" and c not in inkless
    ]
    kept = [c for c in clean(text) if unicodedata.category(c)[0] in "LN"]
    assert unicodedata.normalize("NFD", "".join(kept)) == unicodedata.normalize("NFD", "".join(letters)) or (
        [unicodedata.normalize("NFD", c)[0] for c in kept]
        == [unicodedata.normalize("NFD", c)[0] for c in letters]
    )


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("O＇Neil", "O’Neil"), ("O‛Neil", "O’Neil"), ("O´ Brien", "O’Brien"), ("O´´Brien", "O’Brien"), ("`Okoa", "’Okoa"),
        ("Jones`", "Jones’"), ("Jones` Ana", "Jones’ Ana"), ("Ana－Maria", "Ana-Maria"), ("Ana−Maria", "Ana-Maria"),
        ("O'Brien", "O'Brien"),
    ],
)  # fmt: skip
def test_clean_name_signs(name, cleaned):
    assert clean_name_signs(name) == cleaned


@pytest.mark.parametrize(
    "text",
    ["", "-", "N/A", "n.a.", "n.a", "NA", "nan", "NaN", "none", "(None)", "#N/A", "#n/a", "#VALUE!", "Not Applicable",
     "(not provided)", "ninguno", "Ninguna"],
)  # fmt: skip
def test_means_nothing(text):
    assert MEANS_NOTHING.fullmatch(text)


@pytest.mark.parametrize("text", ["Nan", "Nina", "(none", "none)", "Nonette", "#1", "nothing"])
def test_means_something(text):
    assert not MEANS_NOTHING.fullmatch(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ok", None), ("a\x07b", (2, "U+0007")), ("a\x00", (2, "U+0000")), ("\ud800", (1, "U+D800")),
        ("ab\ue000", (3, "U+E000")), ("\ufdd0", (1, "U+FDD0")), ("\U0001ffff", (1, "U+1FFFF")), ("two\nlines\t", None),
    ],
)  # fmt: skip
def test_first_unreadable(text, found):
    assert first_unreadable(text) == found


def test_first_unreadable_in_one_line():
    assert first_unreadable("a\tb", lines=False) == (2, "U+0009")


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("José García López", "jose garcia lopez"), ("Nuñez", "nunez"), ("Nun\u0303ez", "nunez"), ("O’Brien", "obrien"),
        ("O'Brien", "obrien"), ("O`Brien", "obrien"), ("Smith-Jones, Jr.", "smith jones jr"), ("ＡＢＣ", "abc"),
        ("Strauß", "strauss"),
    ],
)  # fmt: skip
def test_fold(name, folded):
    assert fold(name) == folded


@given(st.text())
def test_fold_is_idempotent(text):
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Clínica Peña", "Clinica Pena"),
        ("O’Brien, Smith; Co", "O'Brien Smith Co"),
        ("Straße", "Strasse"),
        ("日本", ""),
    ],
)
def test_ascii_name(name, plain):
    assert ascii_name(name) == plain
