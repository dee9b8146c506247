"""Writing content: the editor, with the email beside it and the check underneath."""

from typing import Any

from flask import (
    Response,
    abort,
    flash,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from crm.content import approval, catalog, comments, preview, service
from crm.content.editor import form_codec, hints, new_email
from crm.content.editor import service as drafting
from crm.content.editor.form_codec import Parts, Statement
from crm.content.models import ContentVersion, VersionState
from crm.content.page_context import actor, shared
from crm.content.render.fields import COMMERCIAL, FILTERED, LANGUAGES, URL_FIELDS, allowed_fields
from crm.content.render.merge_fields import clean
from crm.content.testimonials import service as testimonials
from crm.core import clock
from crm.core.blueprints import ConsolePages
from crm.core.errors import Conflict, Invalid
from crm.staff import access

pages = ConsolePages("drafts", __name__, url_prefix="/content/drafts", part_of="content")

MOST_CLAIMS = 60
NO_NAME = {"en": "there", "es": "qué tal"}  # "Hello there", "Hola, qué tal"
FIELD_WORDS = {
    "first_name": "First name",
    "clinic_name": "Clinic’s name",
    "clinic_phone": "Clinic’s phone",
    "clinic_address": "Clinic’s address",
    "signup_date": "Day they opted in",
    "reference": "Reference",
    "appointment_time": "Time of the appointment",
    "unsubscribe_url": "Link: stop these emails",
    "preferences_url": "Link: preferences",
    "call_url": "Answer: I would like a call",
    "not_now_url": "Answer: not now",
    "guide_url": "Answer: send me the guide",
    "contact_url": "Link: contact form",
    "education_url": "Link: the guide",
    "referral_url": "Link: refer a patient",
    "portal_url": "Link: portal",
    "confirm_url": "Link: confirm",
    "signin_url": "Link: sign in",
    "staff_signin_url": "Link: sign in to the console",
    "data_url": "Link: own data",
    "console_url": "Link: console",
}


@pages.get("/new")
@access.require("write_content")
def new() -> ResponseReturnValue:
    """The form for a new email."""
    return _new()


def _new(status: int = 200, **more: Any) -> Response:
    page = render_template(
        "console/content/new.html",
        patterns=new_email.patterns(),
        audiences=list(new_email.AUDIENCES.items()),
        longest=new_email.LONGEST_SUBJECT,
        **{"typed": request.args, **more},
        **shared(),
    )
    return make_response(page, status)


@pages.post("/new")
@access.require("write_content")
def create() -> ResponseReturnValue:
    """Begin a new email from a blank or from a pattern."""
    form = request.form
    try:
        made = new_email.begin(
            subjects={language: form.get(f"subject_{language}", "") for language in LANGUAGES},
            stream=form.get("stream", ""),
            pattern=form.get("pattern", type=int),
            actor=actor(),
        )
    except Invalid as error:
        abort(_new(422, errors=error.fields, typed=form))
    flash("Draft created. Write the text, then submit it for review.", "success")
    return redirect(url_for(".edit", version_id=made[0].id))


@pages.post("/begin/<int:item_id>")
@access.require("write_content")
def begin(item_id: int) -> ResponseReturnValue:
    """Open the draft of an item in a language, making it when there is none."""
    made = drafting.open_draft(item_id, language=request.form.get("language", "en"), actor=actor())
    return redirect(url_for(".edit", version_id=made.id))


@pages.post("/translate/<int:version_id>")
@access.require("write_content")
def translate(version_id: int) -> ResponseReturnValue:
    """Begin the other language from these words."""
    made = drafting.translate(version_id, language=request.form.get("language", ""), actor=actor())
    flash("This is the original text. Translate it sentence by sentence.", "info")
    return redirect(url_for(".edit", version_id=made.id, beside=1))


@pages.get("/<int:version_id>")
@access.require("write_content")
def edit(version_id: int) -> ResponseReturnValue:
    """The editor."""
    version = approval.get(version_id)
    if version.state != VersionState.DRAFT:
        return redirect(url_for("console.content.version", version_id=version_id))
    return _editor(version)


def _editor(version: ContentVersion, *, status: int = 200, **more: Any) -> Response:
    shown = more.pop("parts", None) or form_codec.split_fields(version.source)
    page = render_template(
        "console/content/editor.html",
        version=version,
        parts=shown,
        base=more.pop("base", version.version),
        report=hints.check_version(version),
        history=drafting.history(version.id, limit=20),
        names=catalog.display_names(
            [version.author, *(row.author for row in drafting.history(version.id, limit=20))]
        ),
        blocks=_blocks(version),
        required=_required(version, shown),
        papers=_papers(version, shown),
        fields=_fields(version),
        links=[
            (name, FIELD_WORDS.get(name, name))
            for name in sorted(allowed_fields(shown.stream or None) & URL_FIELDS)
        ],
        beside=_other(version),
        people=preview.PEOPLE,
        look={name: request.args.get(name, "") for name in ("mode", "dark", "person", "beside")},
        holders=approval.emails_using(version) if version.item.kind == "block" else [],
        sender=service.clinic_facts().short_name,
        open_notes=[note for note in comments.comments_of(version.id) if note.settled_at is None],
        **more,
        **shared(),
    )
    return make_response(page, status)


def _blocks(version: ContentVersion) -> list[str]:
    if version.item.kind == "block":
        return []
    return sorted(name for name in service.current_blocks(version.language) if not name.startswith("footer"))


def _required(version: ContentVersion, shown: Parts) -> list[str]:
    """Every block that may be asked for: those there are, and what was asked for before."""
    return sorted({*_blocks(version), *shown.blocks})


def _papers(version: ContentVersion, shown: Parts) -> list[tuple[str, str]]:
    """The authorizations that an email in this language may name today, and the one it names."""
    if shown.stream not in COMMERCIAL:
        return []
    rows = testimonials.valid_for(language=version.language, now=clock.now())
    found = {one.reference: f"{one.reference}: {one.words[:60]}" for one in rows}
    if shown.testimonial:
        found.setdefault(shown.testimonial, f"{shown.testimonial} (not valid)")
    return list(found.items())


def _fields(version: ContentVersion) -> list[tuple[str, str]]:
    allowed = allowed_fields(version.item.stream)
    found = [
        (name, words) for name, words in FIELD_WORDS.items() if name in allowed and name not in URL_FIELDS
    ]
    if FILTERED in allowed:
        default = f'{FILTERED} | capitalize | default: "{NO_NAME[version.language]}"'
        found.insert(1, (default, "First name, or other words"))
    return found


def _other(version: ContentVersion) -> ContentVersion | None:
    return drafting.newest(version.item_id, language="es" if version.language == "en" else "en")


@pages.post("/<int:version_id>")
@access.require("write_content")
def save(version_id: int) -> ResponseReturnValue:
    """Save, check, and say so: as JSON to the script, as the page to everybody else."""
    version = approval.get(version_id)
    parts = _typed(version)
    script = request.accept_mimetypes.best == "application/json"
    try:
        saved = drafting.save(
            version_id,
            parts=parts,
            base=request.form.get("base", 0, type=int),
            actor=actor(),
            safety="safety" in request.form if "safety_asked" in request.form else None,
        )
    except (Conflict, Invalid) as error:
        if script:
            return jsonify(error=_words(error)), 422
        raise
    if saved.theirs is not None:
        return _clash(version, parts, saved, script=script)
    if script:
        return jsonify(base=saved.version, **_told(hints.check_version(version)))
    return _after_saving(version)


def _words(error: Conflict | Invalid) -> str:
    if isinstance(error, Invalid):
        return " ".join(text for texts in error.fields.values() for text in texts)
    return error.message


def _clash(
    version: ContentVersion, parts: Parts, saved: drafting.Saved, *, script: bool
) -> ResponseReturnValue:
    who = catalog.display_names([saved.by]).get(saved.by, saved.by)
    theirs = form_codec.split_fields(saved.theirs or "")
    if script:
        return jsonify(base=saved.version, by=who, theirs=_plain(theirs)), 409
    clash = {"by": who, "theirs": _plain(theirs)}
    return _editor(version, status=409, parts=parts, base=saved.version, clash=clash)


def _plain(parts: Parts) -> str:
    return f"{parts.subject}\n{parts.preheader}\n\n{parts.body}".strip()


def _after_saving(version: ContentVersion) -> ResponseReturnValue:
    chosen = request.form.get("take", "")
    if chosen.isdecimal() and len(chosen) < 19:
        return _take(version, int(chosen))
    if request.form.get("then") == "submit":
        approval.submit(version.id, actor=actor())
        flash("Submitted for review. The reviewers find it under Alerts and in this list.", "success")
        return redirect(url_for("console.content.version", version_id=version.id))
    flash("Saved.", "success")
    return redirect(url_for(".edit", version_id=version.id))


def _take(version: ContentVersion, number: int) -> ResponseReturnValue:
    """Write a suggestion in the place of its sentence."""
    found = [one for one in hints.check_version(version).findings if one.number == number]
    if found:
        parts = form_codec.split_fields(version.source)
        changed = form_codec.replace(parts, body=hints.apply_suggestion(parts.body, found[0]))
        drafting.save(version.id, parts=changed, base=version.version, actor=actor())
    return redirect(url_for(".edit", version_id=version.id, _anchor="findings"))


def _told(report: hints.Report) -> dict[str, Any]:
    return {
        "findings": render_template("console/content/_findings.html", report=report),
        "marks": [
            {"where": one.where, "start": one.start, "end": one.end, "stops": one.stops}
            for one in report.findings
            if one.start >= 0
        ],
        "stops": report.stops,
    }


def _typed(version: ContentVersion) -> Parts:
    """The form as fields of a file. Lines break as the files do."""
    form = request.form
    was = form_codec.split_fields(version.source)

    def line(name: str, before: str) -> str:
        return clean(form[name]) if name in form else before

    return form_codec.replace(
        was,
        body=form.get("body", "").replace("\r\n", "\n"),
        subject=line("subject", was.subject),
        preheader=line("preheader", was.preheader),
        purpose=line("purpose", was.purpose),
        why=line("why", was.why),
        title=line("title", was.title),
        testimonial=line("testimonial", was.testimonial),
        blocks=_asked_blocks(was.blocks),
        claims=_claims(),
        words={name: line(f"word_{name}", word) for name, word in was.words.items()},
    )


def _asked_blocks(before: tuple[str, ...]) -> tuple[str, ...]:
    """The blocks that have to be in the text, in the order they had; new ones at the end."""
    if "require_asked" not in request.form:
        return before
    wanted = [clean(name) for name in request.form.getlist("require")]
    return tuple(name for name in before if name in wanted) + tuple(
        dict.fromkeys(name for name in wanted if name not in before)
    )


def _claims() -> tuple[Statement, ...]:
    form = request.form
    rows = zip(form.getlist("claim_id"), form.getlist("claim"), form.getlist("source"), strict=False)
    found: list[Statement] = []
    for number, (name, claim, source) in enumerate(list(rows)[:MOST_CLAIMS], start=1):
        if claim.strip() or source.strip():
            taken = [one.id for one in found]
            known = name.strip() or form_codec.tidy_id(claim, taken=taken, number=number)
            found.append(Statement(known, clean(claim), clean(source)))
    return tuple(found)


@pages.post("/<int:version_id>/restore/<int:autosave_id>")
@access.require("write_content")
def restore(version_id: int, autosave_id: int) -> ResponseReturnValue:
    """Bring back what the draft said before."""
    drafting.restore(version_id, autosave_id=autosave_id, actor=actor())
    flash("Restored. The text before is in the history.", "success")
    return redirect(url_for(".edit", version_id=version_id))
