"""Colors: every pair that is used is readable, in light and in dark (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re
from pathlib import Path

import pytest

CSS = Path(__file__).parents[2] / "crm" / "static" / "css"
TOKENS = (CSS / "tokens.css").read_text()

TEXT = [
    (ink, ground)
    for ground in ("paper", "wash", "accent-wash")
    for ink in ("ink", "ink-soft", "accent", "accent-strong")
] + [
    ("danger", "paper"), ("danger", "wash"), ("danger", "danger-wash"), ("ink", "danger-wash"), ("danger-strong", "danger-wash"),
    ("accent", "danger-wash"), ("accent", "warning-wash"), ("accent", "success-wash"),
    ("warning", "paper"), ("warning", "warning-wash"), ("ink", "warning-wash"),
    ("success", "paper"), ("success", "success-wash"), ("ink", "success-wash"),
    ("on-accent", "accent"), ("on-accent", "accent-strong"), ("on-danger", "danger"), ("on-danger", "danger-strong"),
]  # fmt: skip
CONTROLS = [(mark, ground) for mark in ("edge", "focus", "accent", "danger") for ground in ("paper", "wash")]


def palette(scheme: str) -> dict[str, str]:
    light, dark = TOKENS.split("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    if scheme == "dark":
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark.split("@media print")[0]))
    return found


def luminance(color: str) -> float:
    channels = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_ratio():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(scheme):
    colors = palette(scheme)
    faint = {(ink, on): round(contrast(colors[ink], colors[on]), 2) for ink, on in TEXT}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_edges_of_controls_can_be_seen(scheme):
    colors = palette(scheme)
    faint = {(mark, on): round(contrast(colors[mark], colors[on]), 2) for mark, on in CONTROLS}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < 3} == {}


def test_dark_and_light_colors():
    assert palette("light").keys() == palette("dark").keys()
    light, dark = palette("light"), palette("dark")
    assert [name for name in light if light[name] == dark[name]] == []


@pytest.mark.parametrize("sheet", ["app.css", "bootstrap.css"])
def test_colors_stand_in_the_tokens_alone(sheet):
    rules = re.sub(r"/\*.*?\*/", "", (CSS / sheet).read_text(), flags=re.DOTALL)
    assert re.findall(r":[^;{]*?(#[0-9a-fA-F]{3,8}\b|\b(?:rgba?|hsla?|oklch)\()", rules) == []


def test_every_token_that_is_used_exists():
    known = set(re.findall(r"(--[\w-]+):", TOKENS))
    used = set(
        re.findall(r"var\((--[\w-]+)", (CSS / "app.css").read_text() + (CSS / "bootstrap.css").read_text())
    )
    assert used - known == set()
