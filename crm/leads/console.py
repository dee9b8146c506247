"""Leads for staff: the list, one lead with its timeline, and the work on it."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from crm.staff import access

pages = Blueprint("leads", __name__, url_prefix="/leads")


@pages.get("")
@access.require("see_leads")
def index() -> ResponseReturnValue:
    return ""


@pages.get("/search")
@access.require("see_leads")
def search() -> ResponseReturnValue:
    return ""
