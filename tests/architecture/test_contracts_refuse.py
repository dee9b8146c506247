"""Each contract refuses the source that breaks it, and accepts its legal neighbor."""

import pytest

from tests.architecture import contracts
from tests.architecture.source import Project


def faults(contract, sources, table=None):
    return contract(Project.from_sources(sources, table))


def test_module_without_role_or_layer():
    sources = {"crm/leads/gadgets.py": "", "crm/leads/service.py": "", "crm/leads/console_work.py": ""}
    assert faults(contracts.unknown_modules, sources) == [
        "crm.leads.gadgets: neither a role name nor in [tool.crm.layers] of pyproject.toml"
    ]
    assert faults(contracts.unknown_modules, sources, {"leads.gadgets": "service"}) == []


def test_table_that_names_no_module_or_no_layer():
    found = faults(
        contracts.unknown_modules, {"crm/leads/sla.py": ""}, {"leads.sla": "attic", "leads.gone": "service"}
    )
    assert len(found) == 2
    assert "leads.gone" in found[0]
    assert "attic" in found[1]


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ("rules", "models"),
        ("models", "queries"),
        ("queries", "service"),
        ("service", "schemas"),
        ("service", "console"),
    ],
)
def test_import_of_a_higher_layer(lower, upper):
    sources = {
        f"crm/leads/{lower}.py": f"from crm.leads import {upper}",
        f"crm/leads/{upper}.py": "",
    }
    assert len(faults(contracts.upward_imports, sources)) == 1
    downward = {f"crm/leads/{upper}.py": f"from crm.leads import {lower}", f"crm/leads/{lower}.py": ""}
    assert faults(contracts.upward_imports, downward) == []


def test_table_decides_the_layer():
    sources = {"crm/leads/service.py": "from crm.leads.sla import x", "crm/leads/sla.py": ""}
    assert faults(contracts.upward_imports, sources, {"leads.sla": "page"}) != []
    assert faults(contracts.upward_imports, sources, {"leads.sla": "service"}) == []


def test_view_that_imports_a_view():
    sources = {"crm/leads/console.py": "from crm.leads.api import x", "crm/leads/api.py": "x = 1"}
    assert len(faults(contracts.upward_imports, sources)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "from datetime import datetime\ndef f():\n    return datetime.now()",
        "import time",
        "import random\ndef f():\n    return random.random()",
        "import secrets",
        "import os\ndef f():\n    return os.urandom(2)",
        "from uuid import uuid4\ndef f():\n    return uuid4()",
        "count = 0\ndef f():\n    global count\n    count += 1",
        "seen = []\ndef f(x):\n    seen.append(x)",
        "seen = {}\ndef f(x):\n    seen[x] = 1",
        "def f(path):\n    return open(path)",
        "def f(path):\n    return path.read_text()",
        "import requests",
        "import socket",
        "from flask import g",
        "from sqlalchemy import select",
    ],
)
def test_impure_rules(text):
    assert faults(contracts.unkept_purity, {"crm/leads/rules.py": text}) != []
    assert faults(contracts.unkept_purity, {"crm/leads/service.py": text}) == []
    assert faults(contracts.unkept_purity, {"crm/web/formatting.py": f'"""Numbers. Pure."""\n{text}'}) != []


def test_pure_rules():
    text = """
import random
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from sqlalchemy import Row
TABLE = {"a": 1}
def f(now, seen, seed):
    seen.append(now)
    found = {}
    found[now] = TABLE["a"]
    return random.Random(seed).random()
"""
    assert faults(contracts.unkept_purity, {"crm/leads/rules.py": text}) == []


def test_impurity_reached_through_another_module():
    sources = {
        "crm/leads/rules.py": "from crm.core.helper import f",
        "crm/core/helper.py": "from crm.core import deep",
        "crm/core/deep.py": "import secrets",
    }
    found = faults(contracts.unkept_purity, sources)
    assert found == ["crm.leads.rules is to be pure, but crm.core.deep:1: imports secrets"]


@pytest.mark.parametrize("role", ["service", "queries", "models", "rules"])
@pytest.mark.parametrize(
    "text",
    ["from flask import request", "import marshmallow", "from rq import Queue", "from crm.web import errors"],
)
def test_http_below_views(role, text):
    assert len(faults(contracts.http_below_views, {f"crm/leads/{role}.py": text})) == 1
    assert faults(contracts.http_below_views, {"crm/leads/console.py": text}) == []


def test_schemas_and_accounts_may_use_their_library():
    sources = {
        "crm/leads/schemas.py": "from marshmallow import Schema",
        "crm/staff/models.py": "from flask_security import UserMixin",
    }
    assert faults(contracts.http_below_views, sources) == []
    assert (
        faults(
            contracts.http_below_views, {"crm/staff/service.py": "from flask_security import current_user"}
        )
        != []
    )


@pytest.mark.parametrize(
    "text", ["from crm.desk.console import _show", "from crm.desk import console\nconsole._show()"]
)
def test_private_name_of_another_module(text):
    sources = {"crm/desk/console.py": "def _show(): ...", "crm/desk/console_work.py": text}
    assert len(faults(contracts.private_imports, sources)) == 1


BLUEPRINT = "from flask import Blueprint\npages = Blueprint('x', __name__)\n"
ROUTE = "@pages.get('/y')\ndef y(): ...\n"


def test_route_on_a_foreign_blueprint():
    foreign = {
        "crm/desk/console.py": BLUEPRINT,
        "crm/desk/console_work.py": f"from crm.desk.console import pages\n{ROUTE}",
    }
    assert len(faults(contracts.foreign_routes, foreign)) == 1
    assert faults(contracts.foreign_routes, {"crm/desk/console.py": BLUEPRINT + ROUTE}) == []


def test_two_blueprints_in_one_module():
    text = BLUEPRINT + "more = Blueprint('z', __name__)\n"
    assert len(faults(contracts.foreign_routes, {"crm/desk/console.py": text})) == 1


def test_second_import_of_sendgrid():
    sources = {"crm/mailer/sendgrid.py": "import sendgrid", "jobs/mail.py": "from sendgrid.helpers import x"}
    assert faults(contracts.sendgrid_imports, sources) == ["jobs.mail:1: imports sendgrid.helpers"]


def test_import_of_jobs_and_of_dev():
    sources = {
        "jobs/mail.py": "from crm.leads import service",
        "crm/leads/service.py": "from jobs import mail",
        "crm/web/home.py": "from crm.dev import demo",
        "crm/cli.py": "from crm.dev import demo",
        "crm/dev/demo.py": "",
    }
    assert faults(contracts.misplaced_imports, sources) == [
        "crm.leads.service:1: crm imports jobs.mail",
        "crm.web.home:1: imports crm.dev.demo",
    ]


def test_circle_for_types_alone():
    sources = {
        "crm/leads/a.py": "from crm.leads import b",
        "crm/leads/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from crm.leads import a",
    }
    assert faults(contracts.circles, sources) == ["crm.leads.a -> crm.leads.b -> crm.leads.a"]
    assert faults(contracts.circles, sources | {"crm/leads/b.py": ""}) == []


def test_too_full_a_folder():
    sources = {f"crm/leads/m{number}.py": "" for number in range(contracts.MOST_MODULES)}
    assert faults(contracts.full_folders, sources) == []
    assert len(faults(contracts.full_folders, sources | {"crm/leads/more.py": ""})) == 1
