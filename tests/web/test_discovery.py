"""Discovery of view modules, and the navigation that features declare."""

from types import ModuleType

import flask_smorest
import pytest
from flask import Blueprint

from crm.core.blueprints import ConsolePages, PortalPages, PublicPages
from crm.web import console, discovery


def module(**names):
    made = ModuleType("crm.things.console")
    vars(made).update(names)
    return made


def test_module_with_one_blueprint():
    pages = ConsolePages("things", "crm.things.console")
    assert discovery.blueprint_of(module(pages=pages, again=pages), ConsolePages) is pages


def test_helper_without_a_blueprint_is_skipped():
    imported = ConsolePages("others", "crm.others.console")
    assert discovery.blueprint_of(module(others=imported), ConsolePages) is None


def test_second_blueprint_is_refused():
    first, second = (ConsolePages(name, "crm.things.console") for name in ("one", "two"))
    with pytest.raises(discovery.BadViewModule, match=r"crm\.things\.console declares more than one"):
        discovery.blueprint_of(module(one=first, two=second), ConsolePages)


@pytest.mark.parametrize("kind", [Blueprint, PublicPages])
def test_blueprint_of_another_audience_is_refused(kind):
    with pytest.raises(discovery.BadViewModule, match="not a ConsolePages"):
        discovery.blueprint_of(module(pages=kind("things", "crm.things.console")), ConsolePages)


@pytest.mark.parametrize(
    ("audience", "kind", "known"),
    [
        ("console", ConsolePages, {"leads", "inbox", "audit", "drafts"}),
        ("portal", PortalPages, {"refer", "refer_upload", "refer_account"}),
        ("public", PublicPages, {"consent", "refer_join", "webhooks"}),
        ("api", flask_smorest.Blueprint, {"desk-api", "leads-api"}),
    ],
)
def test_every_audience_is_found(app, audience, kind, known):
    found = discovery.find_blueprints(audience, kind)
    assert known <= {pages.name for pages in found}
    registered = {blueprint.import_name for blueprint in app.blueprints.values()}
    assert {pages.import_name for pages in found} <= registered


def test_navigation_order_and_links(app):
    assert list(console.sections()) == [
        "Leads",
        "Consultations",
        "People",
        "Outreach",
        "Content",
        "Mail",
        "Reports",
        "Settings",
    ]
    links = [link for links in console.sections().values() for link in links]
    for link in links:
        assert app.view_functions[link.endpoint].permission
    orders = [link.entry.order for link in links]
    assert len(orders) == len(set(orders))


def test_pages_of_a_larger_section_name_it():
    names = {pages.name for pages in discovery.find_blueprints("console", ConsolePages)}
    parts = {pages.part_of for pages in discovery.find_blueprints("console", ConsolePages)} - {None}
    assert parts == {"leads", "content", "mail", "contacts", "practices", "sequences", "staff"}
    assert parts < names
