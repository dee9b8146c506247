"""A member of staff with a password and an authenticator app."""

import pytest

from crm.core.db import db, transaction
from crm.staff import service
from crm.staff.models import User
from tests.support import factories
from tests.support.browser_client import BrowserClient, member

PASSWORD = "marine haven pebble"


class Phone:
    """An authenticator app: shows the code of the present moment."""

    def __init__(self, app, user):
        self._totp, self._user = app.extensions["security"]._totp_factory._totp, user

    def code(self) -> str:
        return self._totp.from_source(self._user.tf_totp_secret).generate().token


@pytest.fixture
def ana(client) -> User:
    """A marketer with a password, and the shipped emails."""
    user = member("marketer", email="ana@clinic.example")
    with transaction():
        factories.shipped()
        service.set_password(user=user, password=PASSWORD)
    return user


@pytest.fixture
def phone(ana, database) -> Phone:
    """Her authenticator app."""
    with transaction():
        ana.tf_totp_secret = database.extensions["security"]._totp_factory.generate_totp_secret()
        ana.tf_primary_method = "authenticator"
    return Phone(database, ana)


@pytest.fixture
def visitor(client, database) -> BrowserClient:
    return BrowserClient(database)


@pytest.fixture
def sent():
    """Call it to see which notices her mailbox gets, oldest first."""
    from sqlalchemy import text

    def look() -> list[str]:
        rows = db.session.execute(text("select params from message order by id"))
        return [row.params["facts"]["reference"] for row in rows if "facts" in row.params]

    return look


def password(visitor, typed=PASSWORD, *, email="ana@clinic.example"):
    visitor.get("/login")
    return visitor.post("/login", {"email": email, "password": typed})


def is_in(visitor) -> bool:
    return visitor.get("/console/account").status_code == 200
