"""The clinic's logo and color for every page."""

from flask import Response
from flask.typing import ResponseReturnValue

from crm.clinic import rules, service
from crm.core import current
from crm.core.blueprints import PublicPages
from crm.core.errors import NotFound

pages = PublicPages("clinic_public", __name__, url_prefix="/clinic")


@pages.get("/logo")
def logo() -> ResponseReturnValue:
    """The logo. Raises NotFound without one."""
    found = service.logo()
    if found is None:
        raise NotFound("There is no logo.")
    return Response(found.content, content_type=found.media_type)


@pages.get("/style.css")
def style() -> ResponseReturnValue:
    """The clinic's color, where pages are light."""
    accent = current.settings().clinic.accent
    if not accent:
        return Response("", content_type="text/css")
    rule = f":root {{ --accent: {accent}; --accent-strong: {rules.darker(accent)}; }}"
    return Response(f"@media (prefers-color-scheme: light) {{ {rule} }}\n", content_type="text/css")
