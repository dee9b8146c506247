"""Mail for staff."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from crm.staff import access

pages = Blueprint("mail", __name__, url_prefix="/mail")


@pages.get("")
@access.require("see_mail")
def index() -> ResponseReturnValue:
    return ""


