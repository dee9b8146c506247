"""Recovery codes: hashed, shown once, good once, and void with their factor."""

import re

import pytest

from crm.core.db import db, transaction
from crm.staff.sign_in import recovery_codes
from tests.staff.sign_in.conftest import is_in, password
from tests.support.browser_client import BrowserClient

pytestmark = pytest.mark.filterwarnings("ignore:Passing SelectField choices as tuples")


@pytest.fixture
def codes(ana, phone, database, visitor):
    """Her fresh recovery codes, and the page that showed them."""
    password(visitor)
    visitor.get("/tf-validate")
    visitor.post("/tf-validate", {"code": phone.code()})
    visitor.get("/mf-recovery-codes")
    page = visitor.post("/mf-recovery-codes").text
    return re.findall(r"\b(?:[a-z2-9]{4}-){3}[a-z2-9]{4}\b", page)


def test_codes_are_hashed_and_shown_once(ana, codes, visitor, sent):
    db.session.refresh(ana)
    assert len(set(codes)) == recovery_codes.CODES
    assert ana.mf_recovery_codes == [recovery_codes.digest(ana.id, code) for code in codes]
    again = visitor.get("/mf-recovery-codes?show_codes=1").text
    assert "8 unused codes" in again
    assert codes[0] not in again
    assert sent()[-1] == "New recovery codes were made for your account"


def test_a_code_signs_in_once(ana, codes, database, sent):
    results = []
    for typed in (codes[3].upper().replace("-", " "), codes[3]):
        visitor = BrowserClient(database)
        password(visitor)
        visitor.get("/mf-recovery")
        visitor.post("/mf-recovery", {"code": typed})
        results.append(is_in(visitor))
    assert results == [True, False]
    assert "A recovery code was used to sign in to your account" in sent()


def test_codes_end_with_their_factor(ana, codes, database):
    accounts = database.extensions["security"].datastore
    with transaction():
        accounts.tf_set(
            ana, "authenticator", database.extensions["security"]._totp_factory.generate_totp_secret()
        )
    assert ana.mf_recovery_codes is None


def test_codes_of_the_release_before_keep_working():
    """The migration hashes them as they were shown: twelve hex digits in groups."""
    assert recovery_codes.digest(7, "AB12-cd34 ef56") == recovery_codes.digest(7, "ab12cd34ef56")
