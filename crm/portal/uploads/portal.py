"""Portal pages for bulk upload of referrals: upload a file, choose its columns, check its rows, see the result."""

from typing import Any

from flask import Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext, lazy_gettext

from crm.audit import service as audit
from crm.consent import consent_texts
from crm.core import csv_files
from crm.core.blueprints import PortalEntry, PortalPages
from crm.core.csv_files import MOST_COLUMNS, BadFile, csv_lines, shown
from crm.core.errors import Invalid
from crm.intake import file_texts
from crm.portal import page_context
from crm.portal import queries as portal_queries
from crm.portal import texts as form_words
from crm.portal.uploads import rules, service
from crm.portal.uploads import texts as words
from crm.portal.uploads.models import ReferralUpload, UploadState
from crm.referrers import portal_session

pages = PortalPages(
    "refer_upload",
    __name__,
    url_prefix="/refer/upload",
    entries=[PortalEntry(label=lazy_gettext("Bulk upload"), view="index", order=30)],
)

SHOWN = 100  # rows with something wrong that a page shows; the file to download has all
SAMPLE = 3


@pages.url_value_preprocessor
def _room_for_a_file(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """A file needs room; only who is signed in gets it. Before anything has read the body."""
    if endpoint == "refer_upload.create" and portal_session.who() is not None:
        request.max_content_length = rules.MOST_BYTES + 1024 * 1024


@pages.get("")
@portal_session.signed_in
def index() -> ResponseReturnValue:
    """What may be sent, and the practice's last files."""
    return _index()


def _index(*, error: str | None = None) -> Response:
    page = render_template(
        "portal/uploads/index.html",
        uploads=service.latest(portal_session.person().practice_id),
        errors={"file": error} if error else {},
    )
    return make_response(page, 422 if error else 200)


@pages.get("/template.csv")
@portal_session.signed_in
def template() -> ResponseReturnValue:
    """A file to fill in: the columns' names, and one made-up patient."""
    names = [str(form_words.FIELDS[name]) for name in rules.TEMPLATE]
    example = [rules.EXAMPLE.get(name, "") for name in rules.TEMPLATE]
    return _file([names, example], name="referrals.csv")


def _file(rows: list[list[str]], *, name: str) -> Response:
    answer = Response("".join(csv_lines(rows)).encode("utf-8-sig"), content_type="text/csv; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


@pages.post("")
@portal_session.signed_in
def create() -> ResponseReturnValue:
    """Keep a file."""
    file = request.files.get("file")
    if file is None or not file.filename:
        return _index(error=words.file_problem(BadFile("required")))
    page_context.not_too_often("refer-upload", most=30)
    with file.stream as stream:
        content = stream.read(rules.MOST_BYTES + 1)
    try:
        row = service.upload(person=portal_session.person(), name=file.filename, content=content)
    except BadFile as error:
        return _index(error=words.file_problem(error))
    return redirect(url_for(".show", upload_id=row.id), code=303)


def _own(upload_id: int) -> ReferralUpload:
    return service.get_for_practice(upload_id=upload_id, practice_id=portal_session.person().practice_id)


@pages.get("/<int:upload_id>")
@portal_session.signed_in
def show(upload_id: int) -> ResponseReturnValue:
    """Show a file: its columns, its checked rows, or the result."""
    return _show(_own(upload_id))


def _show(row: ReferralUpload, **more: Any) -> Response:
    audit.record("referral_upload.view", object_type="referral_upload", object_id=row.id, purpose="care")
    given = {"errors": {}, "upload": row, **more}
    status = 422 if given["errors"] else 200
    if row.state not in service.NOT_SENT:
        rows = service.rows_of(row.id)
        said = {"said": words.row_problem, "without": words.row_without}
        page = render_template("portal/uploads/sent.html", rows=rows, **said, **given)
    else:
        page = _before(row, given)
    return make_response(page, status)


def _before(row: ReferralUpload, given: dict[str, Any]) -> str:
    person = portal_session.person()
    own = portal_queries.clinicians_of(person.practice_id)
    found = service.check_file(row) if row.state == UploadState.MAPPED else None
    table = found.table if found else service.table_of(row)
    given = {
        "mapping": row.mapping,
        "clinician": row.clinician_id or (own[0].id if len(own) == 1 else ""),
        **given,
    }
    return render_template(
        "portal/uploads/show.html",
        table=table,
        sample=csv_files.samples(table.header, list(table.rows.values())[:SAMPLE]),
        fields=[(name, form_words.FIELDS[name]) for name in rules.FIELDS],
        clinicians=[(str(one.id), f"{one.name} (NPI {one.npi})") for one in own],
        found=found,
        most=SHOWN,
        said=words.row_problem,
        without=words.row_without,
        shown=shown,
        informed=consent_texts.current("referral-informed", page_context.language()),
        **given,
    )


@pages.post("/<int:upload_id>/columns")
@portal_session.signed_in
def choose(upload_id: int) -> ResponseReturnValue:
    """Say what the columns are."""
    row = _own(upload_id)
    mapping = {str(n): one for n in range(MOST_COLUMNS) if (one := request.form.get(f"column-{n}"))}
    chosen = request.form.get("clinician", "")
    try:
        clinician = int(chosen) if chosen.isascii() and chosen.isdigit() and len(chosen) < 19 else None
        service.choose_columns(
            upload_id=row.id, practice_id=row.practice_id, mapping=mapping, clinician_id=clinician
        )
    except Invalid as error:
        told = [one.partition(":") for texts in error.fields.values() for one in texts]
        return _show(
            row,
            errors={"_": [words.mapping_problem(code, name) for code, _, name in told]},
            mapping=mapping,
            clinician=chosen,
        )
    return redirect(url_for(".show", upload_id=row.id), code=303)


@pages.post("/<int:upload_id>/send")
@portal_session.signed_in
def send(upload_id: int) -> ResponseReturnValue:
    """Send the rows that are in order, once the sender says that every patient knows."""
    ticked = request.form.getlist("also")[: rules.MOST_ROWS]
    also = {int(one) for one in ticked if one.isascii() and one.isdigit() and len(one) < 10}
    try:
        service.send_rows(
            upload_id=upload_id,
            person=portal_session.person(),
            informed=request.form.get("informed") == "yes",
            also=also,
            language=page_context.language(),
        )
    except Invalid as error:
        nothing = gettext("No row can be sent.")
        errors = {
            name: nothing if name == "_" else form_words.stored_problem(f"{texts[0]}:{name}")
            for name, texts in error.fields.items()
        }
        return _show(_own(upload_id), errors=errors, also=also)
    return redirect(url_for(".show", upload_id=upload_id), code=303)


@pages.get("/<int:upload_id>/problems.csv")
@portal_session.signed_in
def problems(upload_id: int) -> ResponseReturnValue:
    """Download the rows to look at with their problems, to fix and upload again."""
    row = _own(upload_id)
    rows = [[*file_texts.heading(), *service.table_of(row).header]]
    rows += [
        [str(line), words.row_without(why) if goes_in else words.row_problem(why), *cells]
        for line, why, goes_in, cells in service.problems(row)
    ]
    return _file(rows, name=f"referrals-{row.id}-problems.csv")


@pages.post("/<int:upload_id>/discard")
@portal_session.signed_in
def discard(upload_id: int) -> ResponseReturnValue:
    """Forget a file that was not sent."""
    service.discard(upload_id=upload_id, practice_id=portal_session.person().practice_id)
    flash(gettext("The file was deleted."), "success")
    return redirect(url_for(".index"), code=303)
