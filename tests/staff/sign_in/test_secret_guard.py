"""Every place that takes a secret is guarded: slow, audited, the owner and administrators told. Redis plays no part."""

import ast
import re
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisDown
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.core.config import ROOT
from crm.core.db import db, transaction
from crm.staff import rules, service
from crm.staff.models import Alert
from tests.staff.sign_in.conftest import is_in, password
from tests.support.browser_client import BrowserClient

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples"
)  # flask-security's own forms

VERIFIERS = {"verify_and_update_password", "use_link", "owner_of", "account_of"}


def actions(prefix="secret."):
    query = select(AuditEntry.action).where(AuditEntry.action.startswith(prefix)).order_by(AuditEntry.id)
    return list(db.session.scalars(query))


def alert_keys():
    return set(db.session.scalars(select(Alert.key).where(Alert.closed_at.is_(None))))


def guarded(app):
    return {name for name, view in app.view_functions.items() if hasattr(view, "secret_place")}


def test_the_guarded_places_are_these(app):
    assert guarded(app) == {
        "security.login", "security.verify", "security.two_factor_token_validation",
        "security.two_factor_setup_validate", "security.mf_recovery",
        "sign_in.confirm", "sign_in.use", "staff_passkey.enter", "single_sign_on.answer",
        "console.staff.set_password",
        "refer_in.confirm", "refer_in.enter", "refer_in.enter_by_passkey",
        "own_data.choose", "own_data.copy", "own_data.erase",
    }  # fmt: skip


def test_every_view_that_checks_a_secret_is_marked():
    """A view that compares a password, uses a link or verifies a passkey is marked."""
    found, bare = set(), set()
    for path in sorted((ROOT / "crm").rglob("*.py")):
        for view in _views(path):
            calls = {
                node.func.attr
                for node in ast.walk(view)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            }
            passkey = "sign_in" in calls and "PASSKEYS" in ast.unparse(view)
            if calls & VERIFIERS or passkey:
                found.add(view.name)
                if not any("takes_secret" in ast.unparse(mark) for mark in view.decorator_list):
                    bare.add(f"{path.relative_to(ROOT)}: {view.name}")
    assert {"use", "confirm", "enter", "enter_by_passkey", "set_password", "answer"} <= found
    assert bare == set()


def _views(path: Path):
    if path.stem.split("_")[0] not in ("public", "console", "portal", "api"):
        return []
    tree = ast.parse(path.read_text())
    return [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list]


def test_every_form_for_a_password_or_a_code_leads_to_a_guarded_view(app):
    """Forms with such a field post to these addresses and no other; a sensitive page asks on its own address."""
    forms = set()
    for path in sorted((ROOT / "templates").rglob("*.html")):
        for form in re.findall(r"<form\b.*?</form>", path.read_text(), re.DOTALL):
            if re.search(r"current-password|one-time-code|mf_recovery_form\.code|data-passkey=\"get\"", form):
                target = re.search(r" action=\"\{\{ ?url_for(_security)?\(['\"]([\w.]+)['\"]", form)
                if target is None:
                    assert path.stem in ("confirm", "two_factor_setup"), path
                    continue
                name = f"security.{target[2]}" if target[1] else target[2]
                forms.add(f"console.staff{name}" if name.startswith(".") else name)
    assert forms - guarded(app) == {
        "security.change_password"
    }  # Flask-Security's view, which is switched off


def test_five_wrong_codes_end_the_half_sign_in(ana, phone, visitor, sent):
    assert "/tf-validate" in password(visitor).location
    visitor.get("/tf-validate")
    cookie = visitor.client.get_cookie("session").value
    answers = [visitor.post("/tf-validate", {"code": "000000"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [302]
    assert answers[-1].location == "/login"
    assert actions() == ["secret.failed"] * 5
    assert "Someone typed your password correctly and then five wrong codes" in sent()
    assert f"guessing:{ana.id}" in alert_keys()
    assert visitor.post("/tf-validate", {"code": phone.code()}).status_code == 302
    assert not is_in(visitor)
    visitor.client.set_cookie("session", cookie)  # a copy from before has no more tries either
    assert visitor.post("/tf-validate", {"code": phone.code()}).status_code == 429
    assert actions()[-1] == "secret.slowed"
    assert not is_in(visitor)


def test_new_half_sign_ins_get_no_endless_supply_of_codes(ana, phone, database):
    for _ in range(2):
        visitor = BrowserClient(database)
        password(visitor)
        visitor.get("/tf-validate")
        for _ in range(5):
            visitor.post("/tf-validate", {"code": "000000"})
    visitor = BrowserClient(database)
    password(visitor)
    visitor.get("/tf-validate")
    assert visitor.post("/tf-validate", {"code": phone.code()}).status_code == 429


def test_recovery_codes_count_as_codes(ana, phone, visitor):
    password(visitor)
    visitor.get("/mf-recovery")
    answers = [visitor.post("/mf-recovery", {"code": "abcd-efgh"}).status_code for _ in range(5)]
    assert answers == [200] * 4 + [302]


def test_a_half_sign_in_ends_after_ten_minutes(ana, phone, visitor, clock):
    password(visitor)
    visitor.get("/tf-validate")
    clock.shift(601)
    visitor.post("/tf-validate", {"code": phone.code()})
    assert not is_in(visitor)


def test_the_owner_hears_of_guesses_at_the_password_once(ana, visitor, sent):
    for _ in range(12):
        answer = password(visitor, "guess guess guess")
    assert answer.status_code == 429
    assert sent().count("Someone tried many times to sign in to your account, without success") == 1
    assert f"guessing:{ana.id}" in alert_keys()


@pytest.mark.parametrize("address", ["/sign-in/xyz", "/refer/in/xyz"])
def test_links_are_slowed_by_network_address(client, visitor, address):
    answers = [visitor.get(address).status_code for _ in range(rules.TRIES_PER_MINUTE + 1)]
    assert answers == [404] * rules.TRIES_PER_MINUTE + [429]
    assert "guessing:address" in alert_keys()
    visitor.get("/login")
    assert password(visitor).status_code == 429  # one count for all places


def test_the_current_password_is_a_secret_too(ana, visitor, clock):
    password(visitor)
    visitor.get("/console/account")
    wrong = {"current": "guess", "password": "tulip bridge forty"}
    answers = [visitor.post("/console/account/password", wrong).status_code for _ in range(11)]
    assert answers == [422] * 10 + [429]


def test_asking_again_is_guarded(ana, visitor, clock):
    password(visitor)
    clock.shift(301)
    visitor.get("/verify")
    answers = [visitor.post("/verify", {"confirm_password": "guess"}).status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]


def test_all_of_it_holds_while_redis_is_down(ana, phone, visitor, database, monkeypatch):
    def down(*_args, **_options):
        raise RedisDown

    monkeypatch.setattr(database.services.redis.connection_pool, "get_connection", down)
    password(visitor)
    visitor.get("/tf-validate")
    assert [visitor.post("/tf-validate", {"code": "000000"}).status_code for _ in range(5)][-1] == 302
    for _ in range(11):
        answer = password(visitor, "guess guess guess")
    assert answer.status_code == 429


def test_a_code_is_good_once_while_redis_is_down(ana, phone, database, monkeypatch):
    def down(*_args, **_options):
        raise RedisDown

    monkeypatch.setattr(database.services.redis.connection_pool, "get_connection", down)
    code, results = phone.code(), []
    for _ in range(2):
        visitor = BrowserClient(database)
        password(visitor)
        visitor.get("/tf-validate")
        visitor.post("/tf-validate", {"code": code})
        results.append(is_in(visitor))
    assert results == [True, False]


def test_a_failure_is_kept_when_the_request_is_rolled_back(ana, visitor):
    with transaction():
        token = service.sign_in_link(user=ana)
    visitor.get("/login")
    visitor.post(f"/sign-in/{token}")
    assert visitor.get(f"/sign-in/{token}").status_code == 404  # used: the view raises
    assert actions() == ["secret.failed"]
