"""No dead code: every function, setting, permission and role is used somewhere."""

import ast
import re
from collections import Counter
from dataclasses import fields

import pytest

from crm.core.config import Settings
from crm.staff import access
from tests.architecture.source import ROOT, Project

WORD = re.compile(r"\w+")
# names that only tests use, each for a reason
FOR_TESTS = {
    "crm.core.text.MEANS_NOTHING",  # for the ways in, which come to one cleaner step by step
    "crm.core.text.first_unreadable",  # the same
    "crm.messages.rules.MESSAGE_MOVES",  # a trigger enforces it, and a test holds the two equal
    "crm.messages.rules.MOVES_WITHOUT_CALL",  # the same
    "crm.messages.limits.copy_guard.read_marks",  # what a check sees, for tests of the guard
    "crm.messages.limits.quiet_hours.quiet_until",  # the rule that a test holds its SQL twin equal to
    "crm.tracking.rules.worst_state",  # a rule with an SQL twin too
}


@pytest.fixture(scope="module")
def project():
    return Project.load()


def words_of_templates():
    paths = [*(ROOT / "templates").rglob("*.html"), *(ROOT / "templates").rglob("*.mjml"), ROOT / "wsgi.py"]
    return Counter(word for path in paths for word in WORD.findall(path.read_text()))


def defined_and_undecorated(tree):
    """Names at the top of a module; what a decorator registers is used by the code that reads the registry."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name, decorator_list=[]):
                yield name
            case ast.ClassDef(name=name) if "__tablename__" not in ast.dump(node):  # SQL names its table
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def test_everything_defined_is_used(project):
    # a docstring that only mentions a name does not use it
    used = words_of_templates()
    for module in project.modules.values():
        docs = {
            id(first.value)
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and node.body
            and isinstance(first := node.body[0], ast.Expr)
            and isinstance(first.value, ast.Constant)
        }
        for node in ast.walk(module.tree):
            match node:
                case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                    used[name] += 1
                case ast.alias(name=name):
                    used[name] += 1
                case ast.Constant(value=str(text)) if id(node) not in docs:
                    used.update(WORD.findall(text))
    unused = {
        f"{module.name}.{name}"
        for module in project.modules.values()
        for name in defined_and_undecorated(module.tree)
        if not name.startswith("__") and not used[name]
    }
    found = {
        one for one in unused if not one.startswith("crm.web.gunicorn.")
    }  # gunicorn reads all of its file
    assert found - FOR_TESTS == set()


def words_outside(path):
    """Every word of code and templates but those of one file."""
    files = [
        file
        for folder in ("crm", "jobs", "templates")
        for file in (ROOT / folder).rglob("*")
        if file.suffix in (".py", ".html") and file != ROOT / path
    ]
    return {word for file in files for word in WORD.findall(file.read_text())}


def test_every_setting_is_read():
    used = words_outside("crm/core/config.py")
    own = (ROOT / "crm" / "core" / "config.py").read_text()
    unread = {
        field.name
        for field in fields(Settings)
        if field.name not in used and f"settings.{field.name}" not in own
    }
    assert unread == set()


def permissions_asked(project):
    """Every string that code or a template hands to a check of permissions, or that stands in a table of them."""
    return {
        node.value
        for module in project.modules.values()
        if module.name != "crm.staff.access"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_permission_opens_something(project, app):
    asked = permissions_asked(project)
    guarded = {getattr(view, "permission", None) for view in app.view_functions.values()}
    assert set(access.PERMISSIONS) - guarded - asked == set()
    in_templates = {
        name
        for path in (ROOT / "templates").rglob("*.html")
        for name in re.findall(r"\bmay\([\"'](\w+)[\"']\)", path.read_text())
    }
    assert (guarded | in_templates) - {None} - set(access.PERMISSIONS) == set()


def test_every_role_has_a_permission_and_every_permission_a_role():
    named = {role for roles in access.PERMISSIONS.values() for role in roles}
    assert named == set(access.ROLES)
    assert all(access.PERMISSIONS.values())
