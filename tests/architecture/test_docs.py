"""Documentation matches the code: every folder, path, command, setting and link it names exists."""

import re
import subprocess
from pathlib import Path

import click
import pytest

from crm.core.config import Clinic
from wsgi import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TOP = ("crm", "jobs", "tests", "templates", "docs", ".ci")
FILES = set(
    subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
)
MODULES = {Path(name).name for name in FILES}
COMMANDS = app.cli
FLASK_OWN = {"shell", "routes", "run"}
BLOCK = re.compile(r"^```.*?^```", flags=re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")

every_doc = pytest.mark.parametrize("doc", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())


def _inline_code(doc: Path) -> list[str]:
    text = BLOCK.sub("", doc.read_text())
    return CODE.findall(text)


def _command_lines(doc: Path) -> list[str]:
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", doc.read_text(), flags=re.DOTALL | re.MULTILINE)
    return _inline_code(doc) + [line for block in blocks for line in block.splitlines()]


def _exists(path: str) -> bool:
    pattern = re.sub(r"<[^>]+>", "*", path.rstrip("/"))
    return bool(list(ROOT.glob(pattern)))


def test_architecture_names_every_folder():
    named = set(re.findall(r"`(crm/\w+)`", (ROOT / "docs" / "architecture.md").read_text()))
    folders = {
        f"crm/{path.name}"
        for path in (ROOT / "crm").iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert named >= folders, f"docs/architecture.md does not name {sorted(folders - named)}"
    assert {name for name in named if not (ROOT / name).exists()} == set()


@every_doc
def test_paths_exist(doc):
    codes = [code.split(":")[0].split(" ")[0].rstrip(",") for code in _inline_code(doc)]
    paths = [
        code for code in codes if code.split("/")[0] in TOP and "/" in code and not code.startswith("jobs/<")
    ]
    assert [path for path in paths if not _exists(path)] == []


@every_doc
def test_module_names_exist(doc):
    modules = {code for code in _inline_code(doc) if re.fullmatch(r"\w+\.py", code)}
    assert modules - MODULES == set()


TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(), flags=re.MULTILINE)
}


@every_doc
def test_named_tests_exist(doc):
    named = {code for code in _inline_code(doc) if re.fullmatch(r"test_\w+", code)}
    assert named - TESTS == set()


@every_doc
def test_make_targets_exist(doc):
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        found for line in _command_lines(doc) for found in re.findall(r"(?:^|\s)make ([a-z][\w-]*)", line)
    }
    assert named - targets == set()


@every_doc
def test_flask_commands_exist(doc):
    for line in _command_lines(doc):
        for words in re.findall(r"flask --app wsgi ([\w -]+)", line):
            assert words.split()[0] in FLASK_OWN or _command(COMMANDS, words.split()), (
                f"{doc.name} mentions `flask --app wsgi {words}`"
            )


def _command(group: click.Group, words: list[str]) -> bool:
    found = group.commands.get(words[0])
    if isinstance(found, click.Group) and len(words) > 1:
        return _command(found, words[1:])
    return found is not None


@every_doc
def test_links_lead_somewhere(doc):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", BLOCK.sub("", doc.read_text()))
    elsewhere = re.compile(
        r"https?:|mailto:|\w+_url$"
    )  # `contact_url` is a merge field that content.md explains
    assert [link for link in links if not elsewhere.match(link) and not (doc.parent / link).exists()] == []


def _settings_read() -> set[str]:
    readers = ("crm/core/config.py", "crm/web/gunicorn.py", "jobs/cli.py")
    source = "".join((ROOT / path).read_text() for path in readers)
    read = r"""(?:env\.get|given\.get|env\[|environ\.get|_int\(env,|_port\(env,|_flag\(env,|envvar=)[( ]*['"]([A-Z_]+)['"]"""
    return set(re.findall(read, source)) | {f"CLINIC_{name.upper()}" for name in Clinic.__dataclass_fields__}


def _settings_documented() -> set[str]:
    rows = re.findall(
        r"^\| (`[A-Z].*?) \|", (ROOT / "docs" / "configuration.md").read_text(), flags=re.MULTILINE
    )
    return {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}


def test_every_setting_is_documented():
    assert _settings_read() == _settings_documented()


def test_env_example_has_every_setting():
    named = set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert named == _settings_read()
