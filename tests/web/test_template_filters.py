"""Template filters, asset sizes and compiled translations."""

import gzip
import os
from datetime import UTC, datetime, timedelta

import pytest
from babel.messages.mofile import read_mo
from flask import render_template

from crm.web import translations

FIRST_VIEW = (
    "/bootstrap/static/css/bootstrap.min.css",
    "/static/css/tokens.css",
    "/static/css/bootstrap.css",
    "/static/css/app.css",
    "/static/js/app.js",
    "/static/js/proof.js",
    "/static/js/proof_worker.js",
    "/static/icon.svg",
)


def test_assets_are_under_60_kb(app):
    client = app.test_client()
    sizes = {path: len(client.get(path, headers={"Accept-Encoding": "gzip"}).data) for path in FIRST_VIEW}
    assert sum(sizes.values()) < 60_000, sizes


@pytest.mark.parametrize("path", ["/static/css/app.css", "/bootstrap/static/css/bootstrap.min.css"])
def test_compressed_style_sheet(app, path):
    client = app.test_client()
    small, plain = client.get(path, headers={"Accept-Encoding": "gzip"}), client.get(path, buffered=True)
    assert (small.content_encoding, plain.content_encoding) == ("gzip", None)
    assert gzip.decompress(small.data) == plain.data
    assert "Accept-Encoding" in small.headers["Vary"]


def test_pages_are_never_compressed(app):
    assert app.test_client().get("/login", headers={"Accept-Encoding": "gzip"}).content_encoding is None


def test_every_part_renders(app):
    nav = [{"label": "Leads", "href": "/console/leads", "current": True, "count": 3}]
    with app.test_request_context("/console/"):
        page = render_template("styleguide.html", nav=nav, ago=lambda **k: datetime.now(UTC) - timedelta(**k))
    assert page.count("<h1>") == 1
    assert 'aria-current="page"' in page
    assert "undefined" not in page.lower()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 413, 422, 429, 500, 503])
def test_every_error_has_a_page(app, status):
    with app.test_request_context("/"):
        page = app.jinja_env.get_template(f"errors/{status}.html").render()
    assert page.count("<h1>") == 1
    assert str(status) not in page


def test_newer_catalog_is_compiled(tmp_path):
    folder = tmp_path / "es" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    source = folder / "messages.po"
    source.write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\nmsgid "Yes"\nmsgstr "Sí"\n'
    )
    [made] = translations.compile_stale(tmp_path)
    with made.open("rb") as file:
        assert read_mo(file).get("Yes").string == "Sí"
    assert translations.compile_stale(tmp_path) == []
    os.utime(source, (made.stat().st_mtime + 5,) * 2)
    assert translations.compile_stale(tmp_path) == [made]


def test_a_name_is_isolated_and_escaped(app):
    with app.test_request_context("/"):
        show = app.jinja_env.from_string("{{ name|bdi }} {{ _('by %(name)s', name=name|bdi) }}")
        assert show.render(name="<b>حسن") == "<bdi>&lt;b&gt;حسن</bdi> by <bdi>&lt;b&gt;حسن</bdi>"
