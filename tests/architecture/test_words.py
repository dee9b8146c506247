"""The house style check: each rule refuses its own bad example and passes the good one."""

import re

import pytest

from tests.words import RULES, check


def _found(path: str, source: str) -> list[str]:
    return [finding.found for finding in check(path, source)]


@pytest.mark.parametrize(("pattern", "say", "bad", "good"), RULES["text"])
def test_text_rule(pattern: str, say: str, bad: str, good: str) -> None:
    assert pattern.startswith(r"\b"), "the quick look reads only where words begin"
    assert pattern == pattern.lower(), "and in lowercase"
    assert re.search(pattern, bad, re.IGNORECASE), f"{pattern} passes {bad!r}"
    assert not _found("docs/x.md", good), say
    assert _found("docs/x.md", bad)


@pytest.mark.parametrize(("name", "say"), RULES["names"])
def test_name_rule(name: str, say: str) -> None:
    assert _found("crm/leads/x.py", f"def {name}() -> None: ...\n") == [name]
    assert not _found("crm/leads/x.py", f"def {name}_x() -> None: ...\n"), say


@pytest.mark.parametrize(("name", "say"), RULES["modules"])
def test_module_rule(name: str, say: str) -> None:
    assert _found(f"crm/leads/{name}.py", "") == [name], say
    assert _found(f"crm/{name}/__init__.py", "") == [name]
    assert not _found(f"crm/leads/{name}_x.py", "")


@pytest.mark.parametrize(("label", "say"), RULES["labels"])
def test_label_rule(label: str, say: str) -> None:
    assert label in _found("templates/console/x.html", f'<h2 title="{say}">{label}</h2>')
    assert not _found("templates/console/x.html", f"<h2>{say}</h2>")


def test_python_texts_are_read_and_code_is_not() -> None:
    source = '"""Whoever comes."""\n\nsomebody = 1  # anybody\nprint("nobody, somebody")\n'
    assert _found("crm/leads/x.py", source) == ["anybody", "Whoever", "somebody"]
    assert _found("tests/leads/test_x.py", source) == ["anybody", "Whoever"]


def test_labels_are_read_whole() -> None:
    assert not _found("templates/console/x.html", "<h2>Whose turn it is</h2>")


def test_lines_are_named() -> None:
    [finding] = check("crm/leads/x.py", '"""One.\n\nTwo.\nWhoever comes.\n"""\n')
    assert (finding.path, finding.line) == ("crm/leads/x.py", 4)


def test_code_in_markdown_is_not_read() -> None:
    assert not _found("docs/x.md", "Call `somebody()`.\n")
    assert _found("docs/x.md", "```\nmake x  # somebody\n```\n") == ["somebody"]


def test_names_of_tests_are_read() -> None:
    assert _found("tests/x/test_x.py", "def test_somebody_calls() -> None: ...\n") == ["somebody"]
    long = "test_" + "x" * 70
    assert _found("tests/x/test_x.py", f"def {long}() -> None: ...\n") == [long]
