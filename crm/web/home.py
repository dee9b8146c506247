"""The front door: where a patient, a referrer and a member of staff go from here."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

pages = Blueprint("home", __name__)


@pages.get("/")
def home() -> ResponseReturnValue:
    """Three ways in, in the visitor's language."""
    return render_template("public/home.html")
