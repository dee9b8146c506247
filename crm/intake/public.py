"""Public contact form in English and Spanish, protected from robots without third parties."""

from urllib.parse import urlsplit

from flask import current_app, jsonify, redirect, render_template, request, url_for
from flask.sansio.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from werkzeug.routing import BaseConverter

from crm.consent import consent_texts
from crm.core import current, limits
from crm.core.blueprints import CsrfCheck, PublicPages
from crm.core.limits import Limit, Reached
from crm.intake import proof_of_work, service, trap
from crm.intake.forms import ContactForm
from crm.intake.texts import LANGUAGE_NAMES, WORDS
from crm.leads import crisis_words, rules
from crm.referrers import poster

pages = PublicPages("contact", __name__, csrf=CsrfCheck.FORM)


class MistypedAddress(BaseConverter):
    """An address of the form as people type it from print: other case, a sign at the end, "contact-us"."""

    regex = r"(?i:(?:contact(?:o|us|[-_]us|enos|\.html?)?)[^a-z0-9/]*/?[^a-z0-9/]*)"
    part_isolating = False  # a slash may end it


@pages.record
def _know_mistyped(state: BlueprintSetupState) -> None:
    state.app.url_map.converters["mistyped_contact"] = MistypedAddress


BODY_LIMIT = 32 * 1024  # bytes; the longest valid form has about 12,000


def _language() -> str:
    locale = get_locale()
    return locale.language if locale is not None and locale.language in WORDS else "en"


@pages.get("/contacto")
def in_spanish() -> ResponseReturnValue:
    """Redirect the Spanish address for print and phone to the form."""
    return redirect(_address("es"))


@pages.get("/<mistyped_contact:typed>")
def mistyped(typed: str) -> ResponseReturnValue:
    """Redirect an address that was typed nearly right to the form."""
    spanish = typed.lower().startswith(("contacto", "contactenos"))
    return redirect(_address("es" if spanish else _language()))


def _address(language: str) -> str:
    """Return the form's address in a language, keeping the link's campaign parameters."""
    known = {key: request.args.get(key) for key in (*rules.UTM_KEYS, "landing_page", "from")}
    return url_for("contact.form", lang=language, **known)  # type: ignore[arg-type]


@pages.get("/contact/challenge")
def challenge() -> ResponseReturnValue:
    """Return a proof-of-work challenge that the browser solves while the person types."""
    return jsonify(proof_of_work.new_challenge(current.settings().secret_keys))


@pages.get("/contact")
def form() -> ResponseReturnValue:
    """Show the empty form."""
    language = _language()
    page = ContactForm(page_language=language, formdata=None)
    page.language.data = language
    return _render(
        page, touch=_first_touch(), mark=proof_of_work.sign_opening(current.settings().secret_keys)
    )


@pages.post("/contact")
def send() -> ResponseReturnValue:
    """Accept the submitted form, or show it again with its errors and everything that was typed."""
    request.max_content_length = BODY_LIMIT
    page = ContactForm(page_language=_language())
    reached = limits.hit([_per_ip("contact-post", most=30, seconds=600)])
    if reached is not None:
        return _refuse(page, "too_many", status=429, reached=reached)
    if not page.validate():
        return _refuse(page, None, status=422)
    suspicious = _robot_check()
    if suspicious is not None:
        return _refuse(page, suspicious, status=422)
    reached = limits.hit(_accepted_limits(page.clean["email"] or page.clean["phone"] or ""))
    if reached is not None:
        return _refuse(page, "too_many", status=429, reached=reached)
    touch = {key: request.form.get(key) for key in rules.TOUCH_KEYS}
    touch["practice"] = poster.practice_of(touch["practice"])
    trapped = bool(request.form.get(trap.FIELD))
    if trapped:
        trap.count()
    zone, shown = current.settings().clinic.time_zone, request.form.get("wording")
    asked = page.request(clinic_zone=zone, touch=touch, shown=shown, trapped=trapped)
    service.open_contact_request(request=asked)
    return _thank(in_crisis=crisis_words.mentions_crisis(page.clean["message"]))


def _robot_check() -> str | None:
    """Return the key of the message if the form was open too briefly or its proof of work is missing or used."""
    keys = current.settings().secret_keys
    open_for = proof_of_work.seconds_open(request.form.get("started", ""), keys)
    if open_for is None:
        return "csrf"
    if open_for < proof_of_work.FASTEST:
        return "too_fast"
    solved = proof_of_work.solved_challenge(request.form.get("altcha", ""), keys)
    return None if solved is not None and proof_of_work.redeem(solved) else "proof"


@pages.get("/contact/sent")
def sent() -> ResponseReturnValue:
    """Show the thank-you page, the same for known and unknown people; crisis lines come first after a crisis message."""
    language, in_crisis = _language(), request.args.get("help") == "now"
    here = {"help": "now"} if in_crisis else {}
    languages = [
        {"code": code, "label": label, "href": url_for("contact.sent", lang=code, **here)}  # type: ignore[arg-type]
        for code, label in LANGUAGE_NAMES
    ]
    return render_template(
        "public/contact_sent.html", w=WORDS[language], lang=language, languages=languages, in_crisis=in_crisis
    )


def _thank(*, in_crisis: bool = False) -> ResponseReturnValue:
    return redirect(url_for("contact.sent", lang=_language(), help="now" if in_crisis else None), code=303)


def _per_ip(name: str, *, most: int, seconds: int) -> Limit:
    return Limit(name=name, who=request.remote_addr or "", most=most, seconds=seconds)


def _accepted_limits(reach: str) -> list[Limit]:
    """Return the rate limits of a valid form: they allow a family behind one address, but not a flood."""
    return [
        _per_ip("contact-sent", most=10, seconds=3600),
        Limit(name="contact-address", who=reach, most=5, seconds=24 * 3600),
        Limit(name="contact-all", who="everybody", most=120, seconds=60),
    ]


def _refuse(
    page: ContactForm, code: str | None, *, status: int, reached: Reached | None = None
) -> ResponseReturnValue:
    problems = page.problems()
    if code is not None:
        problems = {"_": [page.words[code].format(phone=current.settings().clinic.phone)]} | problems
    mark = request.form.get("started", "")
    if proof_of_work.seconds_open(mark, current.settings().secret_keys) is None:
        mark = proof_of_work.sign_opening(current.settings().secret_keys)
    touch = {key: request.form.get(key) for key in rules.TOUCH_KEYS}
    answer = current_app.make_response(
        (_render(page, touch=rules.first_touch(touch) or {}, mark=mark, problems=problems), status)
    )
    if reached is not None:
        answer.headers["Retry-After"] = str(reached.retry_after)
    return answer


def _render(
    page: ContactForm, *, touch: dict[str, str], mark: str, problems: dict[str, list[str]] | None = None
) -> str:
    language = page.page_language
    languages = [{"code": code, "label": label, "href": _address(code)} for code, label in LANGUAGE_NAMES]
    return render_template(
        "public/contact.html",
        form=page,
        w=page.words,
        lang=language,
        languages=languages,
        language_names=LANGUAGE_NAMES,
        errors=problems or {},
        wording=consent_texts.current("contact-form", language),
        touch=touch,
        mark=mark,
    )


def _first_touch() -> dict[str, str]:
    """Return where the visitor came from: the link's parameters and the referring site."""
    referrer = urlsplit(request.referrer or "").hostname or ""
    own = urlsplit(current.settings().public_url).hostname
    found = {key: request.args.get(key) for key in rules.UTM_KEYS}
    found["landing_page"] = request.args.get("landing_page") or request.path
    token = request.args.get("from")
    found["practice"] = token if poster.practice_of(token) else None
    found["referring_host"] = referrer if referrer != own else None
    return rules.first_touch(found) or {}
