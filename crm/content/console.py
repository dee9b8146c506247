"""Content for staff: the list, an item with its versions, and a version as its reviewers read it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import current_user

from crm.audit import service as audit
from crm.content import approval, catalog, comments, diff, files, preview, rules
from crm.content.blocks import service as blocks
from crm.content.catalog import Filters
from crm.content.editor import form_codec
from crm.content.editor import hints as editor_hints
from crm.content.editor import service as editor
from crm.content.exceptions import rules as exception_rules
from crm.content.models import Approval, Comment, ContentVersion, VersionState
from crm.content.page_context import IN_WORDS, STATES, actor, roles, shared
from crm.content.render.fields import LANGUAGES, ContentError
from crm.content.review import service as review
from crm.core import clock
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import Invalid
from crm.core.queue import enqueue
from crm.staff import access
from crm.staff.sign_in import staff_session

pages = ConsolePages(
    "content",
    __name__,
    url_prefix="/content",
    entries=[ConsoleEntry(label="Emails and blocks", permission="see_content", order=40, section="Content")],
)

LABELS = {"q": "Search", "sequence": "Sequence", "language": "Language", "state": "Status"}
# No script runs in it; its origin is ours only so that the page around it may put it back where the reader was.
PREVIEW_CSP = "; ".join(
    (
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "form-action 'none'",
        "frame-ancestors 'self'",
        "sandbox allow-same-origin",
    )
)


@pages.get("")
@access.require("see_content")
def index() -> ResponseReturnValue:
    """Everything there is, with what it is worth today in each language."""
    asked = {name: request.args.get(name, "").strip() for name in LABELS}
    sequences = catalog.sequences()
    words: dict[str, Mapping[str, str]] = {
        "sequence": dict(sequences),
        "language": IN_WORDS,
        "state": STATES,
    }
    lines = catalog.list_items(Filters(**asked), now=clock.now())
    void = [
        one.used.id
        for line in lines
        for one in line.statuses
        if one.used is not None and one.state in ("void", "expired", "outdated") and one.open is None
    ]
    return render_template(
        "console/content/index.html",
        lines=lines,
        asked=asked,
        void=void,
        sequences=sequences,
        tags=[
            {
                "label": LABELS[name],
                "value": words.get(name, {}).get(value, value),
                "href": _address(asked | {name: ""}),
            }
            for name, value in asked.items()
            if value
        ],
        filterable=[(name, STATES[name]) for name in catalog.STATES],
        **shared(),
    )


def _address(asked: dict[str, Any]) -> str:
    return url_for(".index", **{name: value for name, value in asked.items() if value})


@pages.get("/<int:item_id>")
@access.require("see_content")
def item(item_id: int) -> ResponseReturnValue:
    """One item: its versions in each language, and where it is used."""
    found = editor.get_item(item_id)
    versions = catalog.versions(item_id)
    known = catalog.statuses(now=clock.now(), item_id=item_id)
    return render_template(
        "console/content/item.html",
        item=found,
        title=catalog.title(found, known.values()),
        by_language=[
            (language, known.get((item_id, language)), [one for one in versions if one.language == language])
            for language in LANGUAGES
        ],
        uses=catalog.find_uses(found),
        example=max((one.id for one in versions if one.language == LANGUAGES[0]), default=None),
        names=catalog.display_names(one.author for one in versions),
        worth_of=lambda version: approval.status_of(version, now=clock.now()),
        **shared(),
    )


@pages.get("/versions/<int:version_id>")
@access.require("see_content")
def version(version_id: int) -> ResponseReturnValue:
    """One version as its reviewers read it: the email, what changed, what the check says, what people said."""
    found = approval.get(version_id)
    approvals = approval.approvals_of(found)
    report = editor_hints.check_version(found)
    notes = comments.comments_of(version_id)
    compared = _compared(found)
    return render_template(
        "console/content/version.html",
        version=found,
        worth=approval.status_of(found, now=clock.now()),
        newer=approval.newer_approved(found),
        unauthorized=approval.testimonial_problem(found),
        report=report,
        given=approvals,
        needed=rules.approvals_needed(approval.reviewers()),
        asked={kind: _refusal(found, kind) for kind in rules.KINDS},
        holders=_holders(found, approvals),
        block_changes=blocks.changes_in(found, since=_since(found)),
        mine=actor() in approval.authors(found) | {found.submitted_by},
        looks=_looks(),
        people=preview.PEOPLE,
        names=_people(found, approvals.values(), notes, report),
        months=list(rules.MONTHS),
        sources=diff.sources_by_sentence(compared.sentences, form_codec.split_fields(found.source)),
        waiting=_waiting(found),
        my_roles=roles(),
        me_as=actor(),
        exception_days=list(exception_rules.DAYS),
        both=editor.newest(found.item_id, language="es" if found.language == "en" else "en") is not None,
        **compared.facts,
        **_discussion(notes, compared.sentences),
        **_shown_rows(found, compared, report, notes),
        **shared(),
    )


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """A version compared with the last approved one, sentence by sentence."""

    before: ContentVersion | None
    rows: Sequence[diff.Row]

    @property
    def sentences(self) -> list[str]:
        return [row.sentence for row in self.rows]

    @property
    def facts(self) -> dict[str, Any]:
        """Whether nothing changed, and whether some rows can be hidden because they did not change."""
        same = {row.kind == "same" for row in self.rows}
        known = self.before is not None
        return {
            "before": self.before,
            "foldable": known and len(same) > 1,
            "unchanged": known and same == {True},
        }


def _waiting(version: ContentVersion) -> dict[str, Any] | None:
    """Return how many texts wait for the reader, and whether there is another one; None outside of review."""
    if version.state != VersionState.IN_REVIEW or not access.has_permission(roles(), "review_content"):
        return None
    rows = review.mine(review.queue(actor=actor(), roles=roles()))
    return {"count": len(rows), "next": review.after([row for row in rows if not row.same], version.id)}


def _compared(version: ContentVersion) -> _Compared:
    before = approval.last_approved(version)
    return _Compared(
        before=before, rows=diff.compare(_parts(before), form_codec.split_fields(version.source))
    )


def _shown_rows(
    version: ContentVersion, compared: _Compared, report: editor_hints.Report, notes: Iterable[Comment]
) -> dict[str, Any]:
    """Return the rows to show: all of them, or those with a change, a finding or a comment.

    In review these come first, unless all are asked for.
    """
    short = compared.facts["foldable"] and version.state == VersionState.IN_REVIEW
    folded = request.args.get("show", "changed" if short else "") == "changed"
    by_sentence = _by_sentence(compared.sentences, report)
    kept = {note.sentence for note in notes} | by_sentence.keys()
    rows = [row for row in compared.rows if not folded or row.kind != "same" or row.sentence in kept]
    return {"rows": rows, "folded": folded, "by_sentence": by_sentence}


def _discussion(notes: Sequence[Comment], sentences: Collection[str]) -> dict[str, Any]:
    return {
        "notes": _notes(notes),
        "open_notes": [note for note in notes if note.settled_at is None],
        "loose": [note for note in notes if note.sentence not in sentences],
    }


def _holders(version: ContentVersion, given: Mapping[str, Approval]) -> Sequence[blocks.Holder]:
    """Return the emails that hold a block whose change is not approved yet, as they are for this reader."""
    if version.item.kind != "block" or version.state == VersionState.APPROVED:
        return []
    return blocks.holders(version, reviewers=[actor(), *(one.reviewer for one in given.values())])


def _since(version: ContentVersion) -> ContentVersion | None:
    """Return the approved text that blocks are compared with: this one, or the last before it."""
    approved = version.state == VersionState.APPROVED
    return version if approved else approval.last_approved(version)


def _people(
    version: ContentVersion,
    approvals: Iterable[Approval],
    notes: Iterable[Comment],
    report: editor_hints.Report,
) -> dict[str, str]:
    reviewers = [one.reviewer for one in approvals]
    writers = [who for note in notes for who in (note.author, note.settled_by)]
    signers = [who for one in report.findings for who in _signers(one)]
    return catalog.display_names([version.author, version.submitted_by, *reviewers, *writers, *signers])


def _signers(hint: editor_hints.Hint) -> list[str]:
    """Return who answered about a finding, or asked for and signed an exception."""
    answer = hint.question.answer if hint.question is not None else None
    signed = hint.exception
    return [
        *([answer.author] if answer is not None else []),
        *([signed.asked_by, *signed.signatures.values()] if signed is not None else []),
    ]


def _parts(version: ContentVersion | None) -> form_codec.Parts | None:
    return form_codec.split_fields(version.source) if version else None


def _refusal(version: ContentVersion, kind: str) -> str | None:
    return rules.approval_problem(approval.approval_request(version, actor=actor(), roles=roles(), kind=kind))


def _by_sentence(sentences: list[str], report: editor_hints.Report) -> dict[str, list[editor_hints.Hint]]:
    found: dict[str, list[editor_hints.Hint]] = {}
    for one in report.findings:
        said = " ".join(one.words.split())
        place = next((sentence for sentence in sentences if said and said in sentence), None)
        if place is not None:
            found.setdefault(place, []).append(one)
    return found


def _notes(notes: Any) -> dict[str, list[Comment]]:
    found: dict[str, list[Comment]] = {}
    for note in notes:
        found.setdefault(note.sentence, []).append(note)
    return found


def _looks() -> dict[str, str]:
    return {
        "mode": request.args.get("mode", "phone"),
        "dark": request.args.get("dark", ""),
        "person": request.args.get("person", "ana"),
    }


@pages.get("/versions/<int:version_id>/preview")
@access.require("see_content")
def show_preview(version_id: int) -> ResponseReturnValue:
    """The email itself, for a frame: it may style itself and do nothing else."""
    found = approval.get(version_id)
    asked = _looks()
    plain = asked["mode"] == "text"
    try:
        look = preview.Appearance(person=asked["person"], dark=bool(asked["dark"]))
        mail = preview.preview(found, look=look, block=_block_asked())
        shown = Response(mail.text if plain else mail.html, mimetype="text/plain" if plain else "text/html")
    except ContentError as error:
        page = render_template("console/content/broken.html", error=error)
        shown = Response(page, mimetype="text/html")
    shown.headers["Content-Security-Policy"] = PREVIEW_CSP
    shown.headers["X-Frame-Options"] = "SAMEORIGIN"
    return shown


def _block_asked() -> ContentVersion | None:
    """Return the version of a block that the email is to be shown with."""
    number = request.args.get("block", 0, type=int)
    found = approval.get(number) if number else None
    return found if found is not None and found.item.kind == "block" else None


@pages.get("/versions/<int:version_id>/file")
@access.require("see_content")
def download(version_id: int) -> ResponseReturnValue:
    """The text as a file, to the byte."""
    found = approval.get(version_id)
    answer = Response(found.source.encode(), mimetype="text/markdown")
    answer.headers["Content-Disposition"] = f'attachment; filename="{files.name_of(found)}"'
    return answer


@pages.post("/upload")
@access.require("write_content")
def upload() -> ResponseReturnValue:
    """A file as the draft of the item whose page it was given to, or as an email of its own."""
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        raise Invalid({"file": ["Choose a file."]})
    text = files.decode_upload(sent.stream.read(files.LARGEST + 1))
    item_id = request.form.get("item", type=int)
    key = editor.get_item(item_id).key if item_id else files.new_key(form_codec.split_fields(text))
    made = files.import_text(text, key=key, actor=actor())
    flash("File uploaded as a draft.", "success")
    there = "console.drafts.edit" if made.state == "draft" else ".version"
    return redirect(url_for(there, version_id=made.id))


@pages.post("/blocks")
@access.require("write_content")
def new_block() -> ResponseReturnValue:
    """Begin a shared block of the clinic's own."""
    made = files.new_block(name=request.form.get("name", ""), language="en", actor=actor())
    return redirect(url_for("console.drafts.edit", version_id=made.id))


@pages.post("/versions/<int:version_id>/submit")
@access.require("write_content")
def submit(version_id: int) -> ResponseReturnValue:
    """Submit a version for review."""
    approval.submit(version_id, actor=actor())
    flash("Submitted for review. The reviewers find it under Alerts and in this list.", "success")
    return redirect(url_for(".version", version_id=version_id))


@pages.post("/submit-again")
@access.require("write_content")
def submit_again() -> ResponseReturnValue:
    """Resubmit the selected versions unchanged."""
    ids = request.form.getlist("version", type=int)
    for version_id in ids:
        editor.submit_again(version_id, actor=actor())
    flash(f"Resubmitted {len(ids)}. Emails that use them wait for both approvals.", "success")
    return redirect(url_for(".index", state="in_review"))


@pages.post("/versions/<int:version_id>/approve")
@access.require("review_content")
@staff_session.own
def approve(version_id: int) -> ResponseReturnValue:
    """Say yes to exactly these bytes."""
    kind = request.form.get("kind", "")
    done = approval.approve(
        version_id, actor=actor(), roles=roles(), kind=kind, months=request.form.get("months", 12, type=int)
    )
    said = "Approved. The next email uses it." if done else "Approved. One more approval is needed."
    flash(said, "success")
    return redirect(_next_after(version_id))


def _next_after(version_id: int) -> str:
    """Return where a reviewer goes on: to the next text where they asked for it."""
    if request.form.get("then") == "next":
        return url_for("console.review.following", after=version_id)
    return url_for(".version", version_id=version_id)


@pages.post("/versions/<int:version_id>/changes")
@access.require("review_content")
def changes(version_id: int) -> ResponseReturnValue:
    """Give it back with a reason."""
    comments.request_changes(version_id, actor=actor(), roles=roles(), reason=request.form.get("reason", ""))
    flash("Returned to the author with your reason.", "success")
    return redirect(_next_after(version_id))


@pages.post("/versions/<int:version_id>/take-back")
@access.require("write_content")
def withdraw(version_id: int) -> ResponseReturnValue:
    """Have one's own text back from review."""
    approval.withdraw(version_id, actor=actor())
    flash("Withdrawn. It is a draft again.", "success")
    return redirect(url_for(".version", version_id=version_id))


@pages.post("/versions/<int:version_id>/retire")
@access.require("write_content")
def retire(version_id: int) -> ResponseReturnValue:
    """Take it out of use."""
    approval.retire(version_id)
    flash("Retired. It will not be sent again.", "success")
    return redirect(url_for(".item", item_id=approval.get(version_id).item_id))


@pages.post("/versions/<int:version_id>/comments")
@access.require("review_content")
def comment(version_id: int) -> ResponseReturnValue:
    """Say something about one sentence, or about all."""
    form = request.form
    made = comments.add_comment(
        version_id, actor=actor(), body=form.get("comment", ""), sentence=form.get("sentence", "")
    )
    return redirect(url_for(".version", version_id=version_id, _anchor=f"note-{made}"))


@pages.post("/comments/<int:comment_id>/settle")
@access.require("review_content")
def settle(comment_id: int) -> ResponseReturnValue:
    """Mark a comment as resolved."""
    row = comments.resolve(comment_id, actor=actor())
    return redirect(url_for(".version", version_id=row.version_id, _anchor=f"note-{row.id}"))


@pages.post("/versions/<int:version_id>/test")
@access.require("review_content")
def test(version_id: int) -> ResponseReturnValue:
    """Send it to oneself. Nobody else's address can be given."""
    approval.get(version_id)
    enqueue("content.try_out", version_id, int(current_user.id), key=str(int(clock.now().timestamp())))
    audit.record("content.try_asked", object_type="content_version", object_id=version_id)
    flash(f"A test is on its way to {current_user.email}.", "success")
    draft = request.form.get("back") == "draft"
    return redirect(url_for("console.drafts.edit" if draft else ".version", version_id=version_id))


@pages.post("/versions/<int:version_id>/renew")
@access.require("write_content")
def renew(version_id: int) -> ResponseReturnValue:
    """Resubmit the same text before its approval expires."""
    made = editor.renew(version_id, actor=actor())
    flash("Resubmitted. The current approval stays valid until it expires.", "success")
    return redirect(url_for(".version", version_id=made.id))
