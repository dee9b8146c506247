"""Requests whose forms hold cleaned text: no page has to remember it, and none can forget it."""

import re

from flask import Request
from werkzeug.datastructures import ImmutableMultiDict

from crm.core.text import clean

AS_TYPED = re.compile(r"password|^current$|^credential$|^body$|^sentence$")
"""Fields that are kept byte by byte: passwords, signatures of passkeys, and texts of emails, which are hashed."""


class CleanRequest(Request):
    """A request whose form fields went through `crm.core.text.clean`."""

    def _load_form_data(self) -> None:
        if "form" in self.__dict__:
            return
        super()._load_form_data()
        typed = self.__dict__["form"]
        self.__dict__["form"] = ImmutableMultiDict(
            [(name, _cleaned(name, value)) for name, value in typed.items(multi=True)]
        )


def _cleaned(name: str, value: str) -> str:
    return value if AS_TYPED.search(name) else clean(value)
