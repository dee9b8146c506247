"""Every view module has a Blueprint of its own, and adds routes to no other."""

import ast

import pytest

from crm.web import discovery
from tests.architecture.test_source import TREES

AUDIENCES = ("api", "console", "portal", "public")
CLASSES = {"Blueprint", "ConsolePages", "PortalPages", "PublicPages"}
OTHERS = {
    "crm/web/console.py",
    "crm/web/home.py",
    "crm/web/notices.py",
    "crm/ops/health.py",
    "crm/ops/metrics.py",
}
ROUTES = {"get", "post", "put", "patch", "delete", "route", "add_url_rule"}
HOOKS = {"before_request", "after_request", "context_processor", "url_value_preprocessor"}
NAMES = {"pages", "blueprint"}  # what view modules call their Blueprint


def own_blueprints(tree):
    """Names of the Blueprints that a module makes at its top level or inside a function."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "id", "") in CLASSES
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def foreign_routes(tree):
    """Lines that add a route or a hook to a Blueprint that this module did not make."""
    own = own_blueprints(tree)
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("crm.")
        for alias in node.names
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ROUTES | HOOKS
        and _is_foreign(node.value, own, imported)
    ]


def _is_foreign(target, own, imported):
    if isinstance(target, ast.Attribute):
        return target.attr in NAMES
    name = getattr(target, "id", "")
    return name not in own and name in imported & NAMES


CRM = {name: tree for name, tree in TREES.items() if name.startswith("crm/") and "/sandbox/" not in name}


def test_no_module_adds_routes_to_the_blueprint_of_another():
    assert {name: lines for name, tree in CRM.items() if (lines := foreign_routes(tree))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "from crm.desk.console import pages\n@pages.get('/x')\ndef x(): ...",
        "from crm.desk import console\nconsole.pages.add_url_rule('/x')",
        "from crm.desk.console import pages\npages.context_processor(print)",
        "from crm.desk.console import pages\n@pages.before_request\ndef x(): ...",
    ],
)
def test_the_rule_finds_foreign_routes(source):
    assert foreign_routes(ast.parse(source))


def test_every_blueprint_is_found_or_listed():
    found = {
        name.replace(".", "/") + ".py" for audience in AUDIENCES for name in discovery.view_modules(audience)
    }
    makers = {name: own_blueprints(tree) for name, tree in CRM.items() if own_blueprints(tree)}
    assert set(makers) - found == OTHERS
    assert {names.pop() for name, names in makers.items() if name in found} <= NAMES
