"""Every limit of mail/send once, by the field it is reported at."""

from typing import Any

import pytest

from crm.sandbox.api.validation import problems
from tests.sandbox.requests_data import letter, person

NOW = 1_772_557_200
HOURS = 3600


def fields(body: object) -> list[str | None]:
    return [problem.field for problem in problems(body, now=NOW)]


def people(count: int) -> list[dict[str, Any]]:
    return [person(f"p{number}@mail.example", number) for number in range(count)]


def to(**recipient: Any) -> dict[str, Any]:
    return letter(personalizations=[person("", to=[recipient])])


def one(**changes: Any) -> dict[str, Any]:
    return letter(personalizations=[person("ana@mail.example", **changes)])


@pytest.mark.parametrize(
    "body",
    [
        letter("ana@mail.example"),
        letter(*(f"p{number}@mail.example" for number in range(1000))),
        letter("ana@mail.example", send_at=NOW + 72 * HOURS),
        letter("ana@mail.example", categories=["c" * 255] + [str(number) for number in range(9)]),
        letter("ana@mail.example", headers={"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}),
        letter(
            personalizations=[{"to": [{"email": "a@b.example"}]}], content=[], template_id="d-1", subject=""
        ),
        letter("ana@mail.example", custom_args={"a": "x" * 4_993, "b": "x" * 5_000}),
        one(substitutions={"-a-": "x" * 9_997}, to=[{"email": "o'neil+pain@mail.example", "name": "Núñez"}]),
        one(subject="Only mine"),
    ],
)
def test_what_keeps_to_the_limits_is_accepted(body: dict[str, Any]) -> None:
    assert fields(body) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], None),
        ("text", None),
        (letter(), "personalizations"),
        (letter(personalizations=people(1001)), "personalizations"),
        (letter(personalizations=[1]), "personalizations.0"),
        (letter(personalizations=[*people(3), {"subject": "x"}]), "personalizations.3.to"),
        (letter(personalizations=[*people(3), person("", to=[])]), "personalizations.3.to"),
        (letter(personalizations=[*people(3), person("no address")]), "personalizations.3.to.0.email"),
        (to(email="ana@localhost"), "personalizations.0.to.0.email"),
        (to(email="anä@mail.example"), "personalizations.0.to.0.email"),
        (to(email="a@mail.example\r\nBcc: b@mail.example"), "personalizations.0.to.0.email"),
        (to(email="a" * 65 + "@mail.example"), "personalizations.0.to.0.email"),
        (to(email="ana@mail.example", name="Ananth, Kartik MD"), "personalizations.0.to.0.name"),
        (to(email="ana@mail.example", name="Ana; MD"), "personalizations.0.to.0.name"),
        (to(email="ana@mail.example", name=7), "personalizations.0.to.0.name"),
        (one(cc=[{"email": "ANA@mail.example"}]), "personalizations.0.cc"),
        (letter("ana@mail.example", "b@mail.example", "Ana@mail.example"), "personalizations.2.to"),
        (one(cc=[{"email": f"c{number}@mail.example"} for number in range(1000)]), "personalizations"),
        (one(bcc="boss@mail.example"), "personalizations.0.bcc"),
        (one(subject=""), "personalizations.0.subject"),
        (one(substitutions={"-a-": "x" * 9_998}), "personalizations.0.substitutions"),
        (one(substitutions={"-a-": "é" * 5_000}), "personalizations.0.substitutions"),
        (one(substitutions={"-a-": 7}), "personalizations.0.substitutions"),
        (one(substitutions="x"), "personalizations.0.substitutions"),
        (letter("ana@mail.example", template_id="d-1"), "personalizations.0.substitutions"),
        (one(custom_args={"a": "x" * 10_000}), "personalizations.0.custom_args"),
        (one(custom_args={"a": 7}), "personalizations.0.custom_args"),
        (
            letter(personalizations=[{"to": [{"email": "a@b.example"}]}], custom_args={"a": "x" * 10_000}),
            "custom_args",
        ),
        (letter("ana@mail.example", custom_args="x"), "custom_args"),
        (one(headers={"Subject": "x"}), "personalizations.0.headers.Subject"),
        (one(headers={"X-A": 7}), "personalizations.0.headers.X-A"),
        (letter("ana@mail.example", headers={"X-SG-EID": "x"}), "headers.X-SG-EID"),
        (letter("ana@mail.example", headers={"X-A": "a\r\nBcc: b@mail.example"}), "headers.X-A"),
        (letter("ana@mail.example", headers=[]), "headers"),
        (one(send_at=NOW + 72 * HOURS + 1), "personalizations.0.send_at"),
        (letter("ana@mail.example", send_at=NOW * 1000), "send_at"),
        (letter("ana@mail.example", send_at=str(NOW)), "send_at"),
        (letter("ana@mail.example", categories=list("abcdefghijk")), "categories"),
        (letter("ana@mail.example", categories=["a", "a"]), "categories"),
        (letter("ana@mail.example", categories=["a" * 256]), "categories.0"),
        (letter("ana@mail.example", categories="news"), "categories"),
        (letter("ana@mail.example", **{"from": {}}), "from.email"),
        (letter("ana@mail.example", **{"from": {"email": "clinic"}}), "from.email"),
        (letter("ana@mail.example", **{"from": {"email": "ñ@clinic.example"}}), "from.email"),
        (
            letter("ana@mail.example", **{"from": {"email": "a@clinic.example", "name": "Clínica"}}),
            "from.name",
        ),
        (one(**{"from": {"email": "clinic"}}), "personalizations.0.from.email"),
        (letter("ana@mail.example", subject=""), "subject"),
        (letter("ana@mail.example", content=[]), "content"),
        (letter("ana@mail.example", content=[{"type": "text/plain", "value": ""}]), "content.0.value"),
        (letter("ana@mail.example", content=letter()["content"][::-1]), "content"),
        (letter("ana@mail.example", content=letter()["content"][:1] * 2), "content"),
        (letter("ana@mail.example", attachments=[{"filename": "a.txt"}]), "attachments.0.content"),
        (letter("ana@mail.example", reply_to={"email": "nobody"}), "reply_to.email"),
        (
            letter("ana@mail.example", reply_to={"email": "a@b.example"}, reply_to_list=[]),
            "reply_to_list",
        ),
        (letter("ana@mail.example", asm={}), "asm.group_id"),
        (
            letter("ana@mail.example", asm={"group_id": 1, "groups_to_display": [1] * 26}),
            "asm.groups_to_display",
        ),
        (
            letter("ana@mail.example", mail_settings={"sandbox_mode": {"enable": "true"}}),
            "mail_settings.sandbox_mode.enable",
        ),
        (letter("ana@mail.example", tracking_settings=[]), "tracking_settings"),
    ],
)
def test_what_breaks_a_limit_is_refused_at_its_field(body: object, field: str | None) -> None:
    assert fields(body) == [field]
