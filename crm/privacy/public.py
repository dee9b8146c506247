"""Public pages for a person's own data: request a link by email, get a copy, ask for erasure.

Known and unknown addresses get the same answer, so nobody can probe for patients (account enumeration). GET never
changes anything, because scanners open every link in an email.
"""

from typing import Any

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import force_locale
from flask_babel import lazy_gettext as _

from crm.audit import service as audit
from crm.consent.views import add_privacy_headers, reader_language
from crm.contacts import rules as contacts
from crm.contacts.models import Contact
from crm.contacts.rules import InvalidValue
from crm.core import limits
from crm.core.blueprints import PublicPages
from crm.core.errors import TooMany
from crm.core.limits import Limit
from crm.privacy import own_data, person_copy, texts
from crm.staff.sign_in import secret_guard
from crm.staff.sign_in.secret_guard import takes_secret

pages = PublicPages("own_data", __name__)
pages.after_request(add_privacy_headers)

BAD_EMAIL = _("Enter an email address, such as name@example.com.")


def _slow(name: str, who: str, *, most: int) -> bool:
    return limits.hit([Limit(name=name, who=who, most=most, seconds=3600)]) is not None


@pages.get("/your-data")
def start() -> ResponseReturnValue:
    """Show the form for the email address to send a link to."""
    return render_template("public/own_data.html", errors={}, email="")


@pages.post("/your-data")
def send() -> ResponseReturnValue:
    """Send a link if the address is known; answer the same in any case."""
    if _slow("own-data", request.remote_addr or "", most=20):
        raise TooMany(str(_("That was a little too often. Please wait, then try again.")), retry_after=3600)
    typed = request.form.get("email", "")
    try:
        email = contacts.clean_email(typed)
    except InvalidValue:
        errors = {"email": str(BAD_EMAIL)}
        return render_template("public/own_data.html", errors=errors, email=typed[:300]), 422
    if not _slow("own-data-address", email, most=3):
        own_data.request_link(email)
    return redirect(url_for(".sent", **_language()), code=303)


def _language() -> dict[str, Any]:
    asked = request.args.get("lang", "")
    return {"lang": asked} if asked in ("en", "es") else {}


@pages.get("/your-data/sent")
def sent() -> ResponseReturnValue:
    """Show where to look for the link."""
    return render_template("public/own_data_sent.html")


@pages.get("/d/<token>")
@takes_secret("link", methods=("GET",))
def choose(token: str) -> ResponseReturnValue:
    """Show what the link can do."""
    contact = own_data.LINKS.owner_of(token)
    secret_guard.accepted()
    return _page("own_data_choose", contact, token=token, errors={})


@pages.post("/d/<token>/copy")
@takes_secret("link")
def copy(token: str) -> ResponseReturnValue:
    """Return the copy as a file."""
    contact = own_data.LINKS.use(token)
    secret_guard.accepted()
    found = person_copy.short(contact.id)
    audit.record("own_data.copy", object_type="contact", object_id=contact.id)
    answer = Response(
        person_copy.as_zip(found, page=_page("own_data_copy", contact, copy=found, words=texts)),
        content_type="application/zip",
    )
    answer.headers["Content-Disposition"] = 'attachment; filename="my-data.zip"'
    return answer


@pages.post("/d/<token>/erase")
@takes_secret("link")
def erase(token: str) -> ResponseReturnValue:
    """Erase the person, or ask staff to; without the box ticked, ask for it."""
    contact = own_data.LINKS.owner_of(token)
    secret_guard.accepted()
    if request.form.get("sure") != "yes":
        errors = {"sure": str(_("Tick the box to have your data erased."))}
        return _page("own_data_choose", contact, token=token, errors=errors), 422
    own_data.LINKS.use(token)
    language = reader_language(contact)
    done = own_data.ask_erasure(contact).done
    with force_locale(language):
        return render_template(
            "public/own_data_erased.html", done=done, days=own_data.ANSWER_WITHIN, lang=language
        )


def _page(name: str, contact: Contact, **facts: object) -> str:
    language = reader_language(contact)
    with force_locale(language):
        return render_template(f"public/{name}.html", lang=language, person=contact, **facts)
