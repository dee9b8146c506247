"""How a practice asks for an account: a form for everybody, guarded against robots; staff decide."""

from collections.abc import Mapping

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import lazy_gettext as _

from crm.contacts import rules as contacts
from crm.contacts.rules import InvalidValue
from crm.core import current, limits
from crm.core.blueprints import PublicPages
from crm.core.errors import TooMany
from crm.core.limits import Limit
from crm.intake import proof_of_work, trap
from crm.referrers import accounts
from crm.referrers.rules import is_npi_format
from crm.referrers.service import Sender
from crm.staff import alerts

pages = PublicPages("refer_join", __name__)

NEEDED = {
    "practice": _("Enter the name of your practice."),
    "clinician": _("Enter the name of a clinician who refers."),
    "name": _("Enter your name."),
}
BAD_EMAIL = _("Enter an email address, such as name@practice.example.")
BAD_PHONE = _("Enter a US phone number with area code, such as 213 555 0142.")
BAD_NPI = _("An NPI has ten digits; the last one checks the others. This one does not fit.")


PROOF = _("The check against robots did not finish. Please press the button once more.")


def _language() -> str:
    locale = get_locale()
    return locale.language if locale is not None else "en"


def _refuse_floods(name: str, *, who: str, most: int, seconds: int) -> None:
    reached = limits.hit([Limit(name=name, who=who, most=most, seconds=seconds)])
    if reached is not None:
        words = str(_("That was a little too often. Please wait, then try again."))
        raise TooMany(words, retry_after=reached.retry_after)


@pages.get("/refer/join")
def join() -> ResponseReturnValue:
    """The form to ask for an account."""
    return _join({}, {})


def _join(typed: Mapping[str, str], errors: Mapping[str, str]) -> str:
    return render_template("portal/join.html", typed=typed, errors=errors)


@pages.post("/refer/join")
def ask_to_join() -> ResponseReturnValue:
    """Note who asks; staff call the practice and decide."""
    _refuse_floods("portal-ask", who=request.remote_addr or "", most=20, seconds=600)
    if request.form.get(trap.FIELD):
        trap.count()  # some password managers fill it: staff decide anyway, and a robot fails the proof below
    names = ("practice", "clinician", "npi", "name", "email", "phone")
    typed = {name: request.form.get(name, "")[:300].strip() for name in names}
    clean, errors = _read_join(typed)
    if errors:
        return _join(typed, errors), 422
    keys = current.settings().secret_keys
    solved = proof_of_work.solved_challenge(request.form.get("altcha", ""), keys)
    if solved is None or not proof_of_work.redeem(solved):
        return _join(typed, {"_": str(PROOF)}), 422
    _refuse_floods("portal-join", who="everybody", most=30, seconds=3600)
    sender = Sender(
        clinician=clean["clinician"], npi=clean["npi"], practice=clean["practice"], phone=clean["phone"]
    )
    zone = current.settings().clinic.time_zone
    person = accounts.ask_to_join(
        sender=sender, name=clean["name"], email=clean["email"], zone=zone, language=_language()
    )
    if person is not None:
        alerts.raise_alert(
            key="portal-asked", level="info", text="A practice requests access to the portal.",
            link="/console/referrers",
        )  # fmt: skip
    return redirect(url_for(".joined"), code=303)


def _read_join(typed: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    clean: dict[str, str] = {}
    errors: dict[str, str] = {}
    for name, words in NEEDED.items():
        try:
            clean[name] = contacts.clean_text(typed[name], limit=80 if name == "name" else 200, lines=False)
        except InvalidValue:
            clean[name] = ""
        if not clean[name]:
            errors[name] = str(words)
    clean["npi"] = "".join(typed["npi"].split())
    if not is_npi_format(clean["npi"]):
        errors["npi"] = str(BAD_NPI)
    for name, rule, words in (
        ("email", contacts.clean_email, BAD_EMAIL),
        ("phone", contacts.clean_phone, BAD_PHONE),
    ):
        try:
            clean[name] = rule(typed[name])
        except InvalidValue:
            errors[name] = str(words)
    return clean, errors


@pages.get("/refer/join/sent")
def joined() -> ResponseReturnValue:
    """Say what comes next: the same for everybody."""
    return render_template("portal/joined.html")
