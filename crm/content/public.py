"""The guide on the public site: what is known about the treatment, what is not, and what to ask. Emails lead here."""

from functools import lru_cache

from flask import render_template
from flask.typing import ResponseReturnValue
from flask_babel import get_locale

from crm.content import service
from crm.content.render import library
from crm.content.render.rendering import ClinicFacts, Page, render_page
from crm.core.blueprints import PublicPages

pages = PublicPages("education", __name__)


@pages.get("/education")
def guide() -> ResponseReturnValue:
    """The guide in the reader's language. It holds nothing about who reads it, and counts nobody."""
    language = str(get_locale() or "en")
    return render_template("public/education.html", guide=_guide(language, service.clinic_facts()))


@lru_cache(maxsize=8)
def _guide(language: str, clinic: ClinicFacts) -> Page:
    shipped = library.load_library()
    return render_page(shipped.pages["education", language], blocks=shipped.blocks[language], clinic=clinic)
