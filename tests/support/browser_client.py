"""Browser client: keeps cookies, sends the form token, signs in by link."""

import re
from datetime import timedelta
from typing import Any

from flask import g
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from crm.core.db import transaction
from crm.core.flask_app import CrmApp
from crm.staff import service as staff
from crm.staff.models import User

TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


def _forget() -> None:
    """Drop the context of the previous request: tests share one app context, real requests do not."""
    for name in list(g):
        g.pop(name)


class BrowserClient:
    """A browser of its own on the app."""

    def __init__(self, app: CrmApp) -> None:
        self.client: FlaskClient = app.test_client()
        self.token = ""

    def get(self, address: str, **options: Any) -> TestResponse:
        _forget()
        answer = self.client.get(address, **options)
        if answer.mimetype == "text/html" and (found := TOKEN.search(answer.text)):
            self.token = found[1]
        return answer

    def post(self, address: str, data: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        _forget()
        return self.client.post(address, data={"csrf_token": self.token, **(data or {})}, **options)

    def sign_in(self, user: User) -> "BrowserClient":
        with transaction():
            token = staff.sign_in_link(user=user, life=timedelta(minutes=5), by_owner=True)
        assert self.get(f"/sign-in/{token}").status_code == 200
        assert self.post(f"/sign-in/{token}").status_code == 302
        return self


def member(role: str, *, email: str | None = None, **values: Any) -> User:
    """An account with this role."""
    with transaction():
        return staff.create(
            email=email or f"{role}@clinic.example",
            name=values.pop("name", role.title()),
            roles=[role],
            **values,
        )


def signed_in(app: CrmApp, role: str) -> BrowserClient:
    """Return a browser in which a staff member with this role is signed in."""
    return BrowserClient(app).sign_in(member(role))
