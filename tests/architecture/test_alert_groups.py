"""Alerts of one kind share one line on the page of alerts: every kind with an id in its key has words for several."""

import ast
import importlib
from collections.abc import Iterator

from crm.staff.alerts import GROUPS
from tests.architecture.source import ROOT


def keys_raised() -> Iterator[str]:
    """Every key that code raises an alert with, up to the first value that is put in."""
    for path in sorted([*(ROOT / "crm").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]):
        text = path.read_text()
        if "raise_alert(" not in text:
            continue
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        tree = ast.parse(text)
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("raise_alert"):
                key = next(one.value for one in call.keywords if one.arg == "key")
                yield from beginnings(key, tree, name)


def beginnings(key: ast.expr, tree: ast.Module, module: str) -> Iterator[str]:
    """What the key of one call may begin with: a text, a name bound in this module, or a function of it."""
    if isinstance(key, ast.Constant):
        yield str(key.value)
    elif isinstance(key, ast.JoinedStr):
        first = key.values[0]
        if isinstance(first, ast.FormattedValue):
            yield str(getattr(importlib.import_module(module), ast.unparse(first.value)))
        else:
            yield from beginnings(first, tree, module)
    elif isinstance(key, ast.Call):
        yield str(getattr(importlib.import_module(module), ast.unparse(key.func))(1))
    else:
        bound = [
            value for assign in ast.walk(tree) if isinstance(assign, ast.Assign)
            for target, value in pairs(assign.targets[0], assign.value)
            if ast.unparse(target) == ast.unparse(key) and isinstance(value, ast.Constant | ast.JoinedStr)
        ]  # fmt: skip
        for value in bound:
            yield from beginnings(value, tree, module)


def pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from zip(target.elts, value.elts, strict=True)
    else:
        yield target, value


def test_every_kind_with_an_id_has_a_group():
    kinds = {key.partition(":")[0] for key in keys_raised() if ":" in key}
    assert {"crisis", "import-crisis", "job", "lead-late", "campaign-refused", "content-expiry"} <= kinds
    assert kinds - GROUPS.keys() == set()
