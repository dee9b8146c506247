"""Sequences for staff."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from crm.staff import access

pages = Blueprint("sequences", __name__, url_prefix="/sequences")


@pages.get("")
@access.require("see_sequences")
def index() -> ResponseReturnValue:
    return ""


