"""Every Blueprint is found by its module's name, or stands on the short list of those that are not features."""

import ast

from crm.web import discovery
from tests.architecture.contracts import BLUEPRINTS
from tests.architecture.test_source import trees

AUDIENCES = ("api", "console", "portal", "public")
NOT_FEATURES = {
    "crm/ops/health.py",
    "crm/ops/metrics.py",
    "crm/web/console.py",
    "crm/web/home.py",
    "crm/web/notices.py",
}


def test_every_blueprint_is_found_or_listed():
    makers = {
        name
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if name.startswith("crm/") and "/sandbox/" not in name
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in BLUEPRINTS
    }
    found = {
        f"{name.replace('.', '/')}.py" for audience in AUDIENCES for name in discovery.view_modules(audience)
    }
    assert makers - found == NOT_FEATURES
