"""Portal pages for practices: list of referrals, new referral, status, messages, files."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import (
    Response,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_babel import gettext, lazy_gettext

from crm.audit import service as audit
from crm.consent import consent_texts
from crm.contacts.rules import STATE_ZONES, Problem
from crm.core import clock, current, file_types
from crm.core.blueprints import PortalEntry, PortalPages
from crm.core.errors import Conflict, Invalid
from crm.desk.documents.sandboxed import sandboxed
from crm.intake import corrections
from crm.leads import rules
from crm.leads.crisis_words import mentions_crisis
from crm.leads.models import Lead
from crm.portal import correcting, page_context, queries, referral_form, service
from crm.portal import texts as words
from crm.portal.queries import Filters
from crm.portal.referral_form import FormResult
from crm.portal.service import UploadedFile
from crm.referrers import accounts, portal_session, poster
from crm.referrers.models import PortalPerson

pages = PortalPages(
    "refer",
    __name__,
    url_prefix="/refer",
    entries=[
        PortalEntry(label=lazy_gettext("Your referrals"), view="home", order=10),
        PortalEntry(label=lazy_gettext("New referral"), view="new", order=20),
        PortalEntry(label=lazy_gettext("Poster"), view="show_poster", order=40),
    ],
)

BODY = (file_types.MOST_FILES * file_types.MOST_BYTES) + 1024 * 1024  # bytes: all files, and the form
WITH_FILES = ("refer.create", "refer.add_files")


@pages.url_value_preprocessor
def _raise_body_limit(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Accept a large body from signed-in users only. Runs before the body is read."""
    if endpoint in WITH_FILES and request.method == "POST" and portal_session.who() is not None:
        request.max_content_length = BODY


@pages.get("/")
@portal_session.signed_in
def home() -> ResponseReturnValue:
    """List the referrals of this practice, newest first."""
    person = portal_session.person()
    wanted = Filters(stage=request.args.get("stage", ""), q=request.args.get("q", "").strip()[:100])
    if wanted.stage not in ("", "open", *words.STAGES):
        raise Invalid({"stage": ["Choose a status from the list."]})
    found = queries.sent_referrals(
        practice_id=person.practice_id,
        wanted=wanted,
        cursor=request.args.get("cursor"),
        initials=person.practice.show_initials,
    )
    audit.record("referral.list", detail={"leads": [row.id for row in found.rows]})
    is_start = not (wanted.stage or wanted.q or request.args.get("cursor"))
    keep: dict[str, Any] = {"stage": wanted.stage or None, "q": wanted.q or None}
    return render_template(
        "portal/home.html",
        rows=found.rows,
        needs_you=_needs_you(person) if is_start else [],
        wanted=wanted,
        initials=person.practice.show_initials,
        draft=service.get_draft(person),
        older=url_for(".home", cursor=found.next, **keep) if found.next else None,
        newest=url_for(".home", **keep) if request.args.get("cursor") else None,
    )


def _needs_you(person: PortalPerson) -> Sequence[Any]:
    """Return the referrals about which the clinic waits for this practice."""
    return queries.sent_referrals(
        practice_id=person.practice_id,
        wanted=Filters(stage=rules.PAUSED),
        cursor=None,
        initials=person.practice.show_initials,
    ).rows


@pages.get("/new")
@portal_session.signed_in
def new() -> ResponseReturnValue:
    """Show the form, filled from the draft."""
    return _form(service.get_draft(portal_session.person()) or {})


@pages.post("/new")
@portal_session.signed_in
def create() -> ResponseReturnValue:
    """Send a referral or save a draft; show errors beside the answers, which are kept."""
    person, typed = portal_session.person(), referral_form.typed_answers(request.form)
    if request.form.get("act") == "save":
        service.save_draft(person=person, answers=typed)
        flash(gettext("Saved. Your draft is kept for 7 days; only you can see it."), "success")
        return redirect(url_for(".home"), code=303)
    own = {str(one.id): (one.name, one.npi) for one in queries.clinicians_of(person.practice_id)}
    read = referral_form.read_form(request.form, clinicians=own, today=clock.today())
    files = _files()
    if errors := _errors(read, files):
        return _form(typed, errors=errors)
    page_context.not_too_often("refer-new", most=120)
    zone = current.settings().clinic.time_zone
    try:
        lead = service.submit(
            person=person, clean=read.clean, language=page_context.language(), zone=zone, files=files,
            left_out=read.left_out,
        )  # fmt: skip
    except Conflict as error:
        code, name = ("external_id", "external_id") if "external" in error.message else ("npi_taken", "npi")
        return _form(typed, errors={name: words.problem(Problem(code), name)}, status=409)
    if read.left_out:
        flash(words.left_out(read.left_out), "warning")
    return redirect(
        url_for(".show", reference=lead.reference, sent=1, help=_help(read.clean["reason"])), code=303
    )


def _help(text: str) -> str | None:
    """Return the value of `help` in the next address: after a text about a crisis the page shows whom to call."""
    return "now" if mentions_crisis(text) else None


def _errors(read: FormResult, files: Sequence[UploadedFile]) -> dict[str, Any]:
    """Return field -> message; the browser drops chosen files, so any error asks to choose them again."""
    errors: dict[str, Any] = {name: words.problem(wrong, name) for name, wrong in read.wrong.items()}
    if wrong := service.check_files(files):
        errors["files"] = [words.problem(Problem(code), "files") % {"name": name} for code, name in wrong]
    elif errors and files:
        errors["files"] = words.problem(Problem("files_again"), "files")
    return errors


def _files() -> list[UploadedFile]:
    """Return the chosen files, each read to one byte over the limit, to detect larger ones."""
    found = []
    for file in request.files.getlist("files"):
        with file.stream as stream:
            if file.filename:
                found.append(UploadedFile(name=file.filename, content=stream.read(file_types.MOST_BYTES + 1)))
    return found


def _form(
    typed: Mapping[str, str], *, errors: Mapping[str, Any] | None = None, status: int | None = None
) -> Response:
    person, spoken = portal_session.person(), page_context.language()
    clinicians = [
        (str(one.id), f"{one.name} (NPI {one.npi})") for one in queries.clinicians_of(person.practice_id)
    ]
    page = render_template(
        "portal/new.html",
        typed=dict(typed),
        errors=errors or {},
        clinicians=clinicians,
        states=[(code, code) for code in sorted(STATE_ZONES)],
        informed=consent_texts.current("referral-informed", spoken),
        agreed=consent_texts.current("referral-attestation", spoken),
    )
    return make_response(page, status or (422 if errors else 200))


def _own(reference: str) -> Lead:
    return service.get_for_practice(reference=reference, practice_id=portal_session.person().practice_id)


@pages.get("/r/<reference>")
@portal_session.signed_in
def show(reference: str) -> ResponseReturnValue:
    """Show the status of a referral."""
    return _show(_own(reference))


def _show(lead: Lead, *, errors: Mapping[str, Any] | None = None, typed: str = "") -> Response:
    audit.record("referral.view", object_type="lead", object_id=lead.id, purpose="care")
    page = render_template(
        "portal/referral.html",
        lead=lead,
        moves=queries.moves_of(lead.id),
        messages=service.messages_of(lead.id),
        files=service.files_of(lead.id),
        sent="sent" in request.args,
        in_crisis=request.args.get("help") == "now",
        can_withdraw=lead.stage in service.WITHDRAWABLE,
        can_correct=correcting.form_of(lead) is not None,
        answers=_answers(lead),
        errors=errors or {},
        typed=typed,
    )
    return make_response(page, 422 if errors else 200)


def _answers(lead: Lead) -> list[tuple[str, str]]:
    """Return what the practice sent, with labels."""
    sent = corrections.sent_form(lead.referral) if lead.referral is not None else None
    return words.answers(sent.answers) if sent is not None else []


@pages.get("/r/<reference>/print")
@portal_session.signed_in
def confirmation(reference: str) -> ResponseReturnValue:
    """Show a page to print: what was sent when, by reference, without patient data."""
    lead = _own(reference)
    audit.record("referral.print", object_type="lead", object_id=lead.id, purpose="care")
    return render_template("portal/confirmation.html", lead=lead, files=service.files_of(lead.id))


@pages.post("/r/<reference>/messages")
@portal_session.signed_in
def write(reference: str) -> ResponseReturnValue:
    """Write to the clinic about a referral."""
    lead, text = _own(reference), request.form.get("text", "")
    page_context.not_too_often("refer-write", most=60)
    try:
        service.write_message(lead=lead, text=text, from_clinic=False)
    except Invalid as error:
        return _show(lead, errors={"text": words.stored_problem(error.fields["text"][0])}, typed=text[:4000])
    flash(gettext("Your message was sent."), "success")
    return redirect(url_for(".show", reference=lead.reference, help=_help(text)), code=303)


@pages.post("/r/<reference>/withdraw")
@portal_session.signed_in
def withdraw(reference: str) -> ResponseReturnValue:
    """Withdraw a referral, with the reason."""
    lead, text = _own(reference), request.form.get("why", "")
    page_context.not_too_often("refer-write", most=60)
    try:
        service.withdraw(lead=lead, text=text)
    except Invalid as error:
        return _show(lead, errors={"why": words.stored_problem(error.fields["text"][0])})
    except Conflict:
        return _show(
            lead,
            errors={"why": gettext("This referral can no longer be withdrawn here. Write to us instead.")},
        )
    flash(gettext("The referral was withdrawn. Write to us if that was a mistake."), "success")
    return redirect(url_for(".show", reference=lead.reference, help=_help(text)), code=303)


@pages.post("/r/<reference>/files")
@portal_session.signed_in
def add_files(reference: str) -> ResponseReturnValue:
    """Add files to a referral."""
    lead, files = _own(reference), _files()
    page_context.not_too_often("refer-files", most=60)
    if not files:
        return _show(lead, errors={"files": gettext("Choose a file.")})
    try:
        service.add_files(lead=lead, files=files)
    except Invalid as error:
        wrong = [text.partition("|") for text in error.fields["files"]]
        shown = [words.problem(Problem(code), "files") % {"name": name} for code, _bar, name in wrong]
        return _show(lead, errors={"files": shown})
    flash(gettext("Your files were added."), "success")
    return redirect(url_for(".show", reference=lead.reference), code=303)


@pages.get("/r/<reference>/files/<int:attachment_id>")
@portal_session.signed_in
def file(reference: str, attachment_id: int) -> ResponseReturnValue:
    """Hand out a file of the practice's own referral, to be saved; never shown inside our pages."""
    row, content = service.read_file(lead_id=_own(reference).id, attachment_id=attachment_id)
    return sandboxed(content, kind=row.kind, name=row.name, download=True)


@pages.get("/poster")
@portal_session.signed_in
def show_poster() -> ResponseReturnValue:
    """Show a poster to print."""
    return render_template("portal/poster.html")


@pages.get("/poster.svg")
@portal_session.signed_in
def qr_code() -> ResponseReturnValue:
    """Return the QR code of the poster: it opens the contact form and credits this practice."""
    url = current.settings().public_url
    return Response(
        poster.qr_code(portal_session.person().practice_id, public_url=url), mimetype="image/svg+xml"
    )


@pages.post("/discard")
@portal_session.signed_in
def discard() -> ResponseReturnValue:
    """Delete the draft."""
    service.delete_draft(portal_session.person())
    flash(gettext("Your draft was deleted."), "success")
    return redirect(url_for(".home"), code=303)


@pages.post("/sign-out")
@portal_session.signed_in
def sign_out() -> ResponseReturnValue:
    """End all sessions of this person, including copies of the cookie."""
    accounts.end_sessions(portal_session.person())
    portal_session.end()
    return redirect(url_for("refer_in.request_link"), code=303)
