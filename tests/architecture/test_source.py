"""Rules about the source that no type checker knows."""

import ast
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import crm.models
import jobs  # noqa: F401 - declares the jobs
from crm.core.db import db

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = ROOT / "crm" / "migrations"
SOURCES = [
    path
    for folder in ("crm", "jobs")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if MIGRATIONS not in path.parents
]


@cache
def trees() -> dict[str, ast.Module]:
    """Every module of the product, parsed; by its path."""
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in SOURCES}


def calls(tree, *names):
    """Lines on which a method with one of these names is called."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names
    ]


def places(find, *, allowed=()):
    return {f"{name}:{line}" for name, tree in trees().items() if name not in allowed for line in find(tree)}


def test_only_the_edge_ends_a_transaction():
    # the demo lives through months in one process, and puts away what it has read between two steps
    outside = {
        "crm/core/db.py",
        "crm/dev/demo.py",
        "crm/core/migration_lock.py",  # its lock is held across transactions
        *(name for name in trees() if name.startswith("crm/sandbox/")),
    }  # the sandbox has a store of its own
    assert places(lambda tree: calls(tree, "commit", "rollback"), allowed=outside) == set()


def test_today_is_the_clinics():
    """The clinic's day is `clock.today()`; the date of `now()` is that of UTC."""

    def days(tree):
        return [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "date"
            and isinstance(node.func.value, ast.Call)
            and ast.unparse(node.func.value.func).endswith("now")
        ]

    assert days(ast.parse("clock.now().date()")) == [1]
    assert places(days) == set()


def test_only_settings_read_the_environment():
    def reads(tree):
        return [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr in ("environ", "getenv")
            and getattr(node.value, "id", "") == "os"
        ]

    # what starts processes hands its environment on; gunicorn reads its own file before there are settings
    tools = {
        "crm/core/config.py", "crm/dev/local.py", "crm/dev/launcher.py", "crm/web/gunicorn.py", "crm/ops/backups.py",
        "crm/dev/reload.py", "crm/ops/cli.py",
    }  # fmt: skip
    assert places(reads, allowed=tools) == set()


def test_nobody_asks_for_the_time_but_the_clock():
    """Real time, which the demo's clock does not move, is asked for in functions that say so: `_real_now`."""

    def asks(tree):
        said = [
            node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "_real_now"
        ]
        real = {id(inner) for function in said for inner in ast.walk(function)}
        return [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and id(node) not in real
            and getattr(node.func.value, "id", "") != "clock"
            and (
                node.func.attr in ("utcnow", "today", "utcfromtimestamp")
                or (node.func.attr == "now" and getattr(node.func.value, "id", "") == "datetime")
            )
        ]

    outside = {"crm/core/clock.py", *(name for name in trees() if name.startswith("crm/sandbox/"))}
    assert places(asks, allowed=outside) == set()


def test_sql_takes_the_time_as_a_parameter():
    def strings(tree):
        return [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.search(r"\b(now\(\)|current_timestamp|clock_timestamp\(\))", node.value, re.IGNORECASE)
            and re.search(r"\b(select|update|insert|delete)\b", node.value, re.IGNORECASE)
        ]

    assert places(strings) == set()


@pytest.mark.filterwarnings(
    "ignore:Expression #1"
)  # indexes with operator classes are compared by name alone
def test_migrations_make_what_the_models_say(database):
    context = MigrationContext.configure(db.session.connection(), opts={"compare_type": True})
    found = compare_metadata(context, crm.models.contacts.Contact.metadata)
    # PostgreSQL writes a collation down in other words than we do: those indexes, too, are compared by name
    names = Counter(change[1].name for change in found if change[0] in ("add_index", "remove_index"))
    assert [change for change in found if names.get(getattr(change[1], "name", None)) != 2] == []


def test_imports_keep_their_layers():
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
