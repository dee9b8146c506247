"""Review in the console: the queue, one text after the other, renewals in one pass, both languages side by side."""

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, ngettext

from crm.content import approval, catalog, diff, rules
from crm.content.editor import form_codec
from crm.content.editor import service as editor
from crm.content.exceptions import service as exceptions
from crm.content.exceptions.rules import SIGNATURES
from crm.content.models import ContentException, ContentVersion, VersionState
from crm.content.page_context import actor, roles, shared
from crm.content.review import service
from crm.content.review.service import Waiting
from crm.core import clock
from crm.core.blueprints import ConsoleEntry, ConsolePages
from crm.core.errors import NotFound
from crm.staff import access
from crm.staff.sign_in import staff_session


def _count() -> int:
    return service.count_mine(actor=actor(), roles=roles())


pages = ConsolePages(
    "review",
    __name__,
    url_prefix="/content/review",
    entries=[
        ConsoleEntry(
            label="Review", permission="review_content", order=41, section="Content", count=_count,
            counted="waiting for your review",
        )
    ],
)  # fmt: skip


@pages.get("")
@access.require("review_content")
def index() -> ResponseReturnValue:
    """What waits for this person, what waits for others, and what has to be renewed."""
    rows = service.queue(actor=actor(), roles=roles())
    mine = service.mine(rows)
    ending = service.ending(now=clock.now())
    return render_template(
        "console/content/review.html",
        to_read=[row for row in mine if not row.same],
        same=[row for row in mine if row.same],
        others=[row for row in rows if not row.kinds],
        ending=ending,
        exceptions=_to_sign(),
        kinds_given=[kind for kind in rules.approvals_needed(approval.reviewers()) if _may_give(kind)],
        needed=rules.approvals_needed(approval.reviewers()),
        names=catalog.display_names(row.version.author for row in rows),
        months=list(rules.MONTHS),
        **shared(),
    )


def _to_sign() -> list[tuple[ContentException, ContentVersion]]:
    """The exceptions that wait for a signature of one of the reader's roles."""
    return [
        (row, approval.get(row.version_id))
        for row in exceptions.waiting()
        if set(roles()) & (set(SIGNATURES) - row.signatures.keys())
    ]


def _may_give(kind: str) -> bool:
    return not rules.REVIEWERS[kind].isdisjoint(roles())


@pages.get("/next")
@access.require("review_content")
def following() -> ResponseReturnValue:
    """Open the text to review after this one."""
    rows = [row for row in service.mine(service.queue(actor=actor(), roles=roles())) if not row.same]
    found = service.after(rows, request.args.get("after", 0, type=int))
    if found is None:
        flash(gettext("Nothing else waits for you."), "success")
        return redirect(url_for(".index"))
    return redirect(_page(found))


def _page(row: Waiting) -> str:
    return url_for("console.content.version", version_id=row.version.id)


@pages.post("/same")
@access.require("review_content")
@staff_session.own
def approve_same() -> ResponseReturnValue:
    """Approve the chosen texts that say the same as before."""
    done = service.approve_same(
        request.form.getlist("version", type=int),
        actor=actor(),
        roles=roles(),
        kind=request.form.get("kind", ""),
        months=request.form.get("months", 12, type=int),
    )
    for version, why in done.refused:
        flash(f"{version.name} ({version.language}): {why}", "warning")
    if done.approved:
        flash(ngettext("Approved %(num)s email.", "Approved %(num)s emails.", done.approved), "success")
    return redirect(url_for(".index"))


@pages.get("/languages/<int:version_id>")
@access.require("see_content")
def languages(version_id: int) -> ResponseReturnValue:
    """Show a version beside its newest text in the other language, paragraph by paragraph."""
    version = approval.get(version_id)
    other = _other(version)
    if other is None:
        raise NotFound(gettext("There is no text in the other language yet."))
    first, second = sorted((version, other), key=lambda one: one.language)
    return render_template(
        "console/content/languages.html",
        version=version,
        first=first,
        second=second,
        rows=diff.side_by_side(form_codec.split_fields(first.source), form_codec.split_fields(second.source)),
        status_of=lambda one: approval.status_of(one, now=clock.now()),
        **shared(),
    )


def _other(version: ContentVersion) -> ContentVersion | None:
    found = editor.newest(version.item_id, language="es" if version.language == "en" else "en")
    return None if found is None or found.state == VersionState.RETIRED else found
