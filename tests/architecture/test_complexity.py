"""No function of crm or jobs has a cyclomatic complexity above 10, as radon counts it, or more than 50 lines."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from radon.complexity import cc_visit
from radon.visitors import Function

from tests.architecture.source import ROOT

MOST = 10
LINES = 50


def too_complex(path: Path) -> Iterator[str]:
    module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for block in cc_visit(path.read_text()):
        if isinstance(block, Function) and block.complexity > MOST:
            yield f"{module}.{block.classname}.{block.name}" if block.classname else f"{module}.{block.name}"


def test_no_function_is_too_complex() -> None:
    paths = [path for folder in ("crm", "jobs") for path in (ROOT / folder).rglob("*.py")]
    found = {name for path in paths if "versions" not in path.parts for name in too_complex(path)}
    assert found == set()


def test_no_function_is_too_long() -> None:
    paths = [path for folder in ("crm", "jobs") for path in (ROOT / folder).rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}: {node.name}, {(node.end_lineno or 0) - node.lineno + 1} lines"
        for path in paths
        if "versions" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= LINES
    ]
    assert found == []


def test_a_complex_function_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.architecture.test_complexity.ROOT", tmp_path)
    lines = "".join(f"    if x == {number}:\n        return {number}\n" for number in range(MOST))
    path = tmp_path / "deep.py"
    path.write_text(f"def f(x):\n{lines}")
    assert list(too_complex(path)) == ["deep.f"]
    path.write_text(f"def f(x):\n{lines}".replace("    if x == 0:\n        return 0\n", ""))
    assert list(too_complex(path)) == []
