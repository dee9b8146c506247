"""The referrer portal under /refer: its frame, and the navigation that its features declare."""

from typing import Any

from flask import Flask, g, request, url_for

from crm.core.blueprints import PortalPages
from crm.portal import texts
from crm.web import discovery


def init_portal(app: Flask) -> None:
    """Add the portal to the app; every page has the same frame."""
    found = discovery.find_blueprints("portal", PortalPages)
    for pages in found:
        app.register_blueprint(pages)
    links = sorted(
        (
            (entry.order, entry.label, f"{pages.name}.{entry.view}")
            for pages in found
            for entry in pages.entries
        ),
        key=lambda link: link[0],
    )

    def frame() -> dict[str, Any]:
        person = g.get("portal_person")
        if person is None:
            return {}
        return {
            "me": {"name": person.name, "practice": person.practice.name, "demo": person.practice.demo},
            "sign_out_href": url_for("refer.sign_out"),
            "home_href": url_for("refer.home"),
            "portal_nav": [
                {"label": label, "href": url_for(endpoint), "current": request.endpoint == endpoint}
                for _, label, endpoint in links
            ],
            "stage_words": texts.STAGES,
            "reason_words": texts.REASONS,
        }

    for pages in found:
        app.before_request_funcs.setdefault(pages.name, []).append(_keep_language)
        app.template_context_processors[pages.name].append(frame)


def _keep_language() -> None:
    """Store a language that was chosen by address with the account, for emails too."""
    chosen, person = request.args.get("lang"), g.get("portal_person")
    if person is not None and chosen in ("en", "es") and person.language != chosen:
        person.language = chosen
