"""Passwords and waits, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.staff import rules

ABOUT = ("Ana Ruiz", "ana.ruiz@clinic.example")


@pytest.mark.parametrize(
    "password",
    [
        "short words", "x" * 129, "liverpool2024!", "Liverpool-Liverpool", "chickenwing101", "michelle1987love",
        "correct horse battery staple", "1qaz2wsx3edc4rfv",
        "password1234", "Password123!!", "P@ssw0rd2026!!", "qwertyuiop12", "1qaz2wsx3edc",
        "aaaaaaaaaaaa", "abababababab", "123456789012", "abcdefghijkl", "AnaRuiz-clinic-1", "monkeydragon12",
        "KetamineClinic2026", "contraseña1234",
    ],
)  # fmt: skip
def test_refused(password):
    assert rules.password_refused(password, about=ABOUT) is not None


@pytest.mark.parametrize(
    "password",
    ["marine haven pebble", "tulip-bridge-forty", "correct horse battery", "夏の海と山の歌をうたう日", "8fK2#pQx9!Lm"],
)  # fmt: skip
def test_taken(password):
    assert rules.password_refused(password, about=ABOUT) is None


@given(st.text(max_size=140))
def test_any_text_gets_an_answer(password):
    why_not = rules.password_refused(password, about=ABOUT)
    assert why_not is None or why_not.endswith((".", "mind."))
    if len(password) < rules.SHORTEST:
        assert why_not is not None


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (9, 0), (10, 30), (11, 60), (12, 120), (15, 900), (16, 900), (10_000, 900)],
)
def test_waits_grow_and_end(failures, seconds):
    assert rules.wait_after(failures) == seconds


@pytest.mark.parametrize(
    ("admins", "leaving", "last"), [([1], 1, True), ([1, 2], 1, False), ([2], 1, False), ([], 1, False)]
)
def test_last_admin(admins, leaving, last):
    assert rules.last_admin(admins, leaving=leaving) is last
