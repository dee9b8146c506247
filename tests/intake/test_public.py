"""Public contact form over HTTP: for people, and against robots."""

import base64
import json
from html.parser import HTMLParser

import pytest
from altcha import v1 as altcha
from flask_babel import refresh
from sqlalchemy import func, select
from structlog.testing import capture_logs

from crm.consent.models import Confirmation, ConsentRecord
from crm.contacts.models import Activity, Contact
from crm.core import current, limits
from crm.core.current import PerApp
from crm.core.db import db, transaction
from crm.intake import proof_of_work, trap
from crm.intake.texts import WORDS
from crm.leads import service as leads
from crm.leads.models import Lead
from crm.messages.models import Message
from crm.staff.models import Alert
from tests.support import factories as support_factories


class _Inputs(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.area = {}, None

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "input" and attrs.get("type") not in ("checkbox", "radio"):
            self.found[attrs.get("name")] = attrs.get("value") or ""
        self.area = attrs["name"] if tag == "textarea" else None

    def handle_endtag(self, tag):
        self.area = None

    def handle_data(self, data):
        if self.area:
            self.found[self.area] = data


def inputs(page):
    parser = _Inputs()
    parser.feed(page.text)
    return parser.found


def solve(challenge):
    solution = altcha.solve_challenge(
        challenge["challenge"], challenge["salt"], "SHA-256", challenge["maxNumber"]
    )
    answer = {key: challenge[key] for key in ("algorithm", "challenge", "salt", "signature")}
    return base64.b64encode(json.dumps(answer | {"number": solution.number}).encode()).decode()


@pytest.fixture(autouse=True)
def easy(monkeypatch):
    """Challenges that solve in no time."""
    monkeypatch.setattr(proof_of_work, "DIFFICULTY", 50)


@pytest.fixture
def mail(database):
    with transaction():
        support_factories.shipped()


@pytest.fixture
def fill(client, clock):
    """Open the form, fill it in like a person, some seconds later."""

    def fill(lang="en", query=None, **changes):
        page = client.get("/contact", query_string={"lang": lang} | (query or {}))
        hidden = inputs(page)
        clock.shift(10)
        return (
            hidden
            | {
                "first_name": "Ana",
                "last_name": "Ruiz",
                "email": "ana.ruiz@example.com",
                "phone": "(213) 555-0142",
                "language": lang,
                "state": "CA",
                "heard_from": "friend",
                "message": "Please call me.",
                "altcha": solve(client.get("/contact/challenge").json),
            }
            | changes
        )

    return fill


@pytest.fixture
def send(client):
    return lambda data, lang="en": client.post("/contact", query_string={"lang": lang}, data=data)


def rows(model):
    return db.session.scalar(select(func.count()).select_from(model))


def test_contact_request(client, fill, send):
    answer = send(fill())
    assert (answer.status_code, answer.location) == (303, "/contact/sent?lang=en")
    lead = db.session.scalar(select(Lead))
    assert (lead.source, lead.message, lead.stage, lead.heard_from) == (
        "form",
        "Please call me.",
        "new",
        "friend",
    )
    assert (lead.contact.phone, lead.contact.time_zone) == ("+12135550142", "America/Los_Angeles")
    assert rows(ConsentRecord) == 0
    thanks = client.get(answer.location).text
    assert WORDS["en"]["sent_title"] in thanks
    assert lead.reference not in thanks


@pytest.mark.parametrize(("lang", "message"), [("en", "I want to die"), ("es", "Quiero morirme")])
def test_crisis_lines_come_first(client, fill, send, lang, message):
    answer = send(fill(lang, message=message), lang)
    assert answer.location == f"/contact/sent?lang={lang}&help=now"
    page = client.get(answer.location).text
    assert page.index("tel:988") < page.index(WORDS[lang]["sent_text"][:40])
    assert rows(Lead) == 1


def test_spanish_with_consent(client, fill, send, mail):
    answer = send(fill("es", educational_email="y"), "es")
    assert answer.location == "/contact/sent?lang=es"
    assert WORDS["es"]["sent_title"] in client.get(answer.location).text
    assert db.session.scalar(select(Contact.language)) == "es"
    asked = db.session.scalar(select(Confirmation))
    assert (asked.kind, asked.wording, asked.language) == ("confirmation", "contact-form/1", "es")
    assert db.session.scalar(select(Lead.stage)) == "unconfirmed"


def test_works_without_approved_email(fill, send):
    assert send(fill(educational_email="y")).status_code == 303
    assert rows(Lead) == rows(Confirmation) == 1
    assert db.session.scalars(select(Alert.key)).all() == ["no-text-confirmation"]


def test_languages_have_addresses(client):
    assert (
        client.get("/contacto?utm_source=radio&_external=1").location == "/contact?lang=es&utm_source=radio"
    )
    for address, language in [("?lang=es", "es"), ("", "es"), ("?lang=en", "en"), ("", "en")]:
        refresh()  # the test's app context outlives the request
        assert WORDS[language]["lead"] in client.get(f"/contact{address}").text


@pytest.mark.parametrize("language", ["en", "es"])
def test_required_notices(client, language):
    page = client.get("/contact", query_string={"lang": language}).text
    words = WORDS[language]
    for key in ("emergency", "message_hint", "educational_hint"):
        assert words[key] in page
    assert "<noscript>" in page
    assert "+1 555 010 0199" in page
    assert "checked" not in page.split('name="educational_email"')[1].split(">")[0]
    assert "http://" not in page.replace("http://localhost", "")
    assert "https://" not in page


def test_languages_have_the_same_texts():
    assert WORDS["en"].keys() == WORDS["es"].keys()
    for key, text in WORDS["en"].items():
        assert text.count("{phone}") == WORDS["es"][key].count("{phone}")


def test_attribution_survives_errors(client, fill, send):
    client.get("/contact", headers={"Referer": "https://www.search.example/find?q=pain"})
    page = client.get(
        "/contact",
        query_string={"utm_source": "radio", "utm_id": "7", "landing_page": "/pain?me=ana"},
        headers={"Referer": "https://www.search.example/find?q=pain"},
    )
    data = fill() | inputs(page)
    assert "utm_id" not in data
    data |= fill(email="ana") | {
        key: data[key] for key in data if key in ("utm_source", "landing_page", "referring_host")
    }
    again = inputs(send(data))
    send(fill() | {key: again[key] for key in ("utm_source", "landing_page", "referring_host")})
    assert db.session.scalar(select(Lead.first_touch)) == {
        "utm_source": "radio",
        "landing_page": "/pain",
        "referring_host": "www.search.example",
    }


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        ("/contact/", "/contact?lang=en"),
        ("/Contact", "/contact?lang=en"),
        ("/CONTACT.", "/contact?lang=en"),
        ("/contact),", "/contact?lang=en"),
        ("/contact%20", "/contact?lang=en"),
        ("/contact%C2%A0", "/contact?lang=en"),
        ("/contact/.", "/contact?lang=en"),
        ("/Contact-Us", "/contact?lang=en"),
        ("/contact.html", "/contact?lang=en"),
        ("/contacto/?utm_source=poster", "/contact?lang=es&utm_source=poster"),
        ("/Contacto", "/contact?lang=es"),
        ("/contactenos", "/contact?lang=es"),
    ],
)
def test_addresses_typed_from_print(client, address, leads_to):
    refresh()
    answer = client.get(address)
    assert (answer.status_code, answer.location) == (302, leads_to)


@pytest.mark.parametrize(
    "address", ["/contacts", "/contact/sent/x", "/contact1", "/xcontact", "/contact/us/now"]
)
def test_other_addresses_stay_unknown(client, address):
    assert client.get(address).status_code == 404


WRONG = [
    ({"first_name": "", "last_name": "-"}, "first_name", "required_first_name"),
    ({"first_name": "N/A", "last_name": " "}, "last_name", "required_last_name"),
    ({"first_name": "http://spam.example"}, "first_name", "name_link"),
    ({"first_name": "x" * 61}, "first_name", "name_long"),
    ({"last_name": "a<script>"}, "last_name", "name_character"),
    ({"email": "", "phone": ""}, "email", "required_email"),
    ({"email": "", "phone": "213 555 0142", "educational_email": "y"}, "email", "ticked_email"),
    ({"email": "", "phone": "12"}, "phone", "phone"),
    ({"email": "ana"}, "email", "email"),
    ({"email": "ana@example.com\r\nBcc: victim@example.com"}, "email", "email"),
    ({"email": "none@none.com"}, "email", "email_filler"),
    ({"message": "x" * 1001}, "message", "text_long"),
    ({"message": "ab\u0007c"}, "message", "text_control"),
]
SAID = {  # in both languages: which character stands where, and how long a text may be
    "name_link": ("A name cannot contain a web or email address.", "Un nombre no puede contener"),
    "name_long": ("at most 60 characters for a name; this has 61.", "como máximo 60 caracteres en un nombre; este tiene 61."),
    "name_character": ("A name cannot hold “&lt;”, which stands at position 2.", "no puede llevar “&lt;”"),
    "email": ("Enter an email address such as name@example.com.", "Escriba un correo electrónico como nombre@ejemplo.com."),
    "phone": ("Enter a US phone number with area code", "Escriba un teléfono de EE. UU. con código de área"),
    "text_long": ("at most 1,000 characters; this has 1,001.", "como máximo 1,000 caracteres; este texto tiene 1,001."),
    "text_control": ("the character at position 3 (U+0007)", "el carácter de la posición 3 (U+0007)"),
}  # fmt: skip


@pytest.mark.parametrize(("first", "last"), [("Ana", ""), ("", "Ruiz"), ("-", "Ruiz"), ("Ana", "N/A")])
def test_one_name_is_enough(fill, send, first, last):
    assert send(fill(first_name=first, last_name=last)).status_code == 303
    contact = db.session.scalars(select(Contact)).one()
    assert f"{contact.first_name}{contact.last_name}" in ("Ana", "Ruiz")


def test_a_phone_number_is_enough(fill, send):
    assert send(fill(email="", phone="213 555 0142")).status_code == 303
    assert db.session.scalars(select(Contact)).one().phone == "+12135550142"


def test_optional_values_are_left_out_and_listed(fill, send):
    odd = {"phone": "ask my wife", "state": "Califrnia", "heard_from": "spam", "language": "fr"}
    assert send(fill(**odd)).status_code == 303
    lead = db.session.scalars(select(Lead)).one()
    assert (lead.contact.phone, lead.contact.state, lead.contact.language) == (None, None, "en")
    [line] = db.session.scalars(select(Activity).where(Activity.kind == "left_out"))
    assert line.text == "Could not read: Phone “ask my wife”; State “Califrnia”; Heard from “spam”"


@pytest.mark.parametrize(("change", "field", "code"), WRONG)
@pytest.mark.parametrize("language", ["en", "es"])
def test_errors_at_field_and_on_top(fill, send, language, change, field, code):
    answer = send(fill(language, **change), language)
    assert answer.status_code == 422
    own = WORDS[language].get(f"wrong_{code}") or WORDS[language].get(f"wrong_{code}_{field}")
    said = own or SAID[code][language == "es"]
    assert f'href="#{field}"' in answer.text
    assert f'id="{field}"' in answer.text
    assert answer.text.count(said) >= 2
    assert rows(Contact) == 0


def test_errors_keep_input(fill, send):
    typed = {"email": "not an address", "phone": "213.555.0142", "message": "Two\r\nlines & <b>signs</b>"}
    again = inputs(send(fill(**typed)))
    assert again["email"] == "not an address"
    assert again["phone"] == "213.555.0142"
    assert again["message"].replace("\r\n", "\n") == "Two\nlines & <b>signs</b>"
    assert again["first_name"] == "Ana"


def test_stale_page_keeps_input(app, fill, send, monkeypatch):
    monkeypatch.setitem(app.config, "WTF_CSRF_ENABLED", True)
    data = fill(csrf_token="stale")
    answer = send(data)
    assert answer.status_code == 422
    assert WORDS["en"]["csrf"] in answer.text
    assert inputs(answer)["message"] == "Please call me."
    assert send(data | {"csrf_token": inputs(answer)["csrf_token"]}).status_code == 303


def test_same_form_twice(client, fill, send):
    assert send(fill()).status_code == send(fill()).status_code == 303
    assert (rows(Lead), rows(Contact)) == (1, 1)


def test_known_and_unknown_see_the_same(client, fill, send, mail):
    unknown = send(fill(educational_email="y"))
    known = send(fill(educational_email="y", message="Another question"))
    assert rows(Contact) == 1
    for answer in (unknown, known):
        answer.headers.remove("Set-Cookie")
    assert (unknown.status_code, dict(unknown.headers), unknown.data) == (
        known.status_code,
        dict(known.headers),
        known.data,
    )


# --- robots


def test_trap_looks_like_success(fill, send):
    answer = send(fill(website="http://spam.example", educational_email="y"))
    assert (answer.status_code, answer.location) == (303, "/contact/sent?lang=en")
    lead = db.session.scalars(select(Lead)).one()
    assert (lead.stage, lead.message, lead.closed_at) == ("spam", "Please call me.", lead.created_at)
    assert (rows(Confirmation), rows(Message), trap.total()) == (0, 0, 1)
    leads.move_stage(lead_id=lead.id, version=lead.version, to="new")
    assert (lead.closed_at, lead.contact.email) == (None, "ana.ruiz@example.com")


def test_trap_shows_errors_like_any_form(fill, send):
    answer = send(fill(website="http://spam.example", first_name="", email="nobody"))
    assert (answer.status_code, "such as name@example.com." in answer.text) == (422, True)
    assert rows(Lead) == 0


def test_too_fast(client, clock, fill, send):
    mark = inputs(client.get("/contact?lang=en"))["started"]
    clock.shift(-8)  # `fill` took ten
    data = fill()
    answer = send(data | {"started": proof_of_work.sign_opening(client.application.settings.secret_keys)})
    assert (answer.status_code, WORDS["en"]["too_fast"] in answer.text) == (422, True)
    clock.shift(proof_of_work.FASTEST)
    assert send(data | {"started": inputs(answer)["started"]}).status_code == 303
    assert mark


@pytest.mark.parametrize("mark", ["", "nonsense", "Zm9ybQ.aSYZ.forged"])
def test_forged_mark(fill, send, mark):
    assert send(fill(started=mark)).status_code == 422
    assert rows(Contact) == 0


def test_page_open_for_days(clock, fill, send):
    data = fill()
    clock.shift(proof_of_work.LONGEST + 60)
    assert WORDS["en"]["csrf"] in send(data).text


def test_proof_works_once(client, fill, send):
    data = fill()
    assert send(data).status_code == 303
    again = send(fill(altcha=data["altcha"], email="other@example.com"))
    assert (again.status_code, rows(Contact)) == (422, 1)
    assert WORDS["en"]["proof"].format(phone="+1 555 010 0199") in again.text


def test_failed_form_keeps_proof(fill, send):
    data = fill()
    assert send(data | {"email": "no"}).status_code == 422
    assert send(data).status_code == 303


def test_replay_after_redis_loss(redis, fill, send):
    data = fill()
    assert send(data).status_code == 303
    redis.flushdb()
    assert send(fill(altcha=data["altcha"], email="other@example.com")).status_code == 422


def test_proof_expires(clock, client, fill, send):
    data = fill()
    clock.shift(proof_of_work.LIFETIME + 1)
    assert send(data).status_code == 422


def changed(answer, **changes):
    return base64.b64encode(json.dumps(json.loads(base64.b64decode(answer)) | changes).encode()).decode()


@pytest.mark.parametrize(
    "twist",
    [
        lambda answer: "",
        lambda answer: "%%%",
        lambda answer: base64.b64encode(b"[]").decode(),
        lambda answer: base64.b64encode(b"7").decode(),
        lambda answer: changed(answer, number=-1),
        lambda answer: changed(answer, number=True),
        lambda answer: changed(answer, number="7"),
        lambda answer: changed(answer, salt=7),
        lambda answer: changed(answer, salt="\ud800"),
        lambda answer: changed(answer, signature="0" * 64),
        lambda answer: changed(answer, salt="abc?expires=99999999999&"),
        lambda answer: changed(answer, algorithm="SHA-1"),
    ],
)
def test_forged_proofs(fill, send, twist):
    data = fill()
    assert send(data | {"altcha": twist(data["altcha"])}).status_code == 422
    assert rows(Contact) == 0


def test_rate_limit(client, fill, send):
    data = fill()
    statuses = []
    for number in range(100):
        fresh = solve(client.get("/contact/challenge").json)
        statuses.append(send(data | {"altcha": fresh, "email": f"p{number}@example.com"}).status_code)
    assert set(statuses) == {303, 429}
    assert statuses.count(303) == rows(Contact) == 10


def test_limit_per_address(client, fill, send):
    def post(number):
        client.environ_base = client.environ_base | {"REMOTE_ADDR": f"192.0.2.{number}"}
        return send(fill(message=f"Message {number}"))

    answers = [post(number) for number in range(6)]
    assert [answer.status_code for answer in answers] == [303] * 5 + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 24 * 3600
    assert inputs(answers[-1])["email"] == "ana.ruiz@example.com"


def test_global_limit(client, fill, send):
    flood = limits.Limit(name="contact-all", who="everybody", most=120, seconds=60)
    for _ in range(120):
        limits.hit([flood])
    assert send(fill()).status_code == 429


def test_limits_without_redis(redis, fill, send, monkeypatch):
    monkeypatch.setattr(limits, "_memory", PerApp(lambda _: limits._Memory()))
    current.services().redis = type(redis).from_url("redis://127.0.0.1:1")
    with capture_logs() as told:
        statuses = [send(fill(email=f"p{number}@example.com")).status_code for number in range(11)]
    assert statuses == [303] * 10 + [429]
    assert "limits.redis_away" in {line["event"] for line in told}


def test_no_personal_data_in_redis_or_logs(redis, fill, send, mail):
    with capture_logs() as told:
        send(fill(educational_email="y", message="canary-message"))
    kept = b"".join(key + (redis.dump(key) or b"") for key in redis.keys("*"))
    for secret in ("ana.ruiz", "Ruiz", "2135550142", "canary"):
        assert secret.encode() not in kept
        assert secret not in str(told)


def test_over_long(fill, send):
    answer = send(fill(message="x" * 40_000))
    assert answer.status_code == 413
