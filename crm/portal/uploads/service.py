"""Referral uploads: a practice uploads a CSV file, chooses its columns, checks its rows, and sends them.

A practice reaches only its own files. The rules of the referral form check each row, and the form's service opens the
referral. A database constraint keeps each line from being sent twice.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.contacts.rules import Problem
from crm.core import clock, crypto, csv_files, current, file_types
from crm.core.csv_files import Table
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.queue import enqueue
from crm.leads.models import Lead, Referral
from crm.portal import queries as portal_queries
from crm.portal import referral_form
from crm.portal import service as portal
from crm.portal.referral_form import FormResult
from crm.portal.uploads import rules
from crm.portal.uploads.models import (
    ReferralColumns,
    ReferralUpload,
    ReferralUploadRow,
    RowState,
    UploadState,
)
from crm.referrers.models import Clinician, PortalPerson

LIFE = timedelta(days=7)
STALLED = timedelta(minutes=2)
SLICE = 25  # rows in one transaction
NOT_SENT = (UploadState.UPLOADED, UploadState.MAPPED)
CHANGED = "The state of this file has changed. Reload the page."


def upload(*, person: PortalPerson, name: str, content: bytes) -> ReferralUpload:
    """Keep a file, encrypted, with its columns guessed. Raises BadFile."""
    table = rules.read_table(content)
    now = clock.now()
    row = ReferralUpload(
        practice_id=person.practice_id, person_id=person.id, state=UploadState.UPLOADED, name=file_types.safe_name(name),
        content=crypto.encrypt(content), rows=len(table.rows),
        mapping=csv_files.guess_columns(
            table.header, remembered(person.practice_id), names=rules.OTHER_NAMES
        ),
        created_at=now, beat_at=now, expires_at=now + LIFE,
    )  # fmt: skip
    db.session.add(row)
    db.session.flush()
    audit.record(
        "referral_upload.add", object_type="referral_upload", object_id=row.id, detail={"rows": row.rows}
    )
    return row


def remembered(practice_id: int) -> Mapping[str, str]:
    """Return the columns this practice chose before: folded name of the column -> field."""
    kept = db.session.get(ReferralColumns, practice_id)
    found: dict[str, str] = orjson.loads(kept.mapping) if kept else {}
    return found


def latest(practice_id: int) -> Sequence[ReferralUpload]:
    """Return the practice's last files, newest first."""
    query = select(ReferralUpload).where(
        ReferralUpload.practice_id == practice_id, ReferralUpload.expires_at > clock.now()
    )
    return db.session.scalars(query.order_by(ReferralUpload.id.desc()).limit(20)).all()


def get_for_practice(*, upload_id: int, practice_id: int, lock: bool = False) -> ReferralUpload:
    """Return a file of this practice. Raises NotFound, the same for another practice's, an expired one and none."""
    query = select(ReferralUpload).where(
        ReferralUpload.id == upload_id,
        ReferralUpload.practice_id == practice_id,
        ReferralUpload.expires_at > clock.now(),
    )
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    row = db.session.scalar(query)
    if row is None:
        raise NotFound("File not found. Files are kept for 7 days.")
    return row


def table_of(row: ReferralUpload) -> Table:
    """Return the rows of the file; none once its content is deleted."""
    if row.content is None:
        return Table(header=[], rows={})
    return rules.read_table(crypto.decrypt(row.content))


def choose_columns(
    *, upload_id: int, practice_id: int, mapping: Mapping[str, str], clinician_id: int | None
) -> ReferralUpload:
    """Store what the columns are, and the clinician for rows that name none; remember both for the next file.

    Raises Invalid with "code:field" of what is wrong, and Conflict once its rows are being sent.
    """
    row = get_for_practice(upload_id=upload_id, practice_id=practice_id, lock=True)
    if row.state not in NOT_SENT:
        raise Conflict(CHANGED)
    header = table_of(row).header
    if wrong := rules.check_mapping(header, mapping):
        raise Invalid({"mapping": [f"{code}:{name}" for code, name in wrong]})
    if clinician_id is not None and clinician_id not in {
        one.id for one in portal_queries.clinicians_of(practice_id)
    }:
        raise Invalid({"clinician": ["choice:clinician"]})
    kept = csv_files.remember_columns(header, mapping, remembered=remembered(practice_id))
    memory = insert(ReferralColumns).values(practice_id=practice_id, mapping=orjson.dumps(kept).decode())
    db.session.execute(
        memory.on_conflict_do_update(
            index_elements=["practice_id"], set_={"mapping": memory.excluded.mapping}
        )
    )
    row.mapping, row.clinician_id, row.state = dict(mapping), clinician_id, UploadState.MAPPED
    return row


@dataclass(kw_only=True)
class CheckedFile:
    """A checked file: line -> what it says, line -> problems as text, and line -> what a duplicate repeats."""

    table: Table
    reads: dict[int, FormResult] = field(default_factory=dict)
    wrong: dict[int, str] = field(default_factory=dict)
    duplicates: dict[int, str] = field(default_factory=dict)

    @property
    def ready(self) -> list[int]:
        """Lines that can be sent: no problem and no duplicate."""
        return [line for line in self.reads if line not in self.wrong and line not in self.duplicates]

    @property
    def without(self) -> dict[int, str]:
        """Lines that can be sent, with the problems of what is left out because it cannot be read."""
        found = {line: _left_out(read) for line, read in self.reads.items() if line not in self.wrong}
        return {line: left_out for line, left_out in found.items() if left_out}


def check_file(row: ReferralUpload, *, duplicates: bool = True) -> CheckedFile:
    """Check every row of a file by the rules of the form, without writing."""
    found = CheckedFile(table=table_of(row))
    found.reads = _read(row, found.table)
    found.wrong = {line: _codes(read) for line, read in found.reads.items() if read.wrong}
    if duplicates:
        clean = {line: read.clean for line, read in found.reads.items() if line not in found.wrong}
        found.duplicates = _duplicates(clean, practice_id=row.practice_id)
    return found


def _codes(read: FormResult) -> str:
    return " ".join(problem.as_text(name) for name, problem in read.wrong.items())


def _left_out(read: FormResult) -> str:
    return " ".join(one.problem.as_text(one.field) for one in read.left_out)


def _read(row: ReferralUpload, table: Table) -> dict[int, FormResult]:
    own = portal_queries.clinicians_of(row.practice_id)
    npis = {one.npi: str(one.id) for one in own}
    default = str(row.clinician_id or "")
    answers = {
        line: rules.answers_of(cells, mapping=row.mapping, clinician=default, npis=npis)
        for line, cells in table.rows.items()
    }
    named = {"".join(one["npi"].split()) for one in answers.values()} - {""}
    strangers = set(
        db.session.scalars(
            select(Clinician.npi).where(Clinician.npi.in_(named), Clinician.practice_id != row.practice_id)
        )
    )
    names = {str(one.id): (one.name, one.npi) for one in own}
    today = clock.today()
    return {
        line: rules.read_row(
            one, clinicians=names, strangers=strangers, today=today, problem=table.problems.get(line, "")
        )
        for line, one in answers.items()
    }


def _duplicates(clean: Mapping[int, Mapping[str, Any]], *, practice_id: int) -> dict[int, str]:
    """Return lines whose patient the practice sent before, or on an earlier line, and what each repeats.

    A patient is known by name and birth date, or by email.
    """
    zone = current.calendar().zone.key
    keys = {}
    for line, values in clean.items():
        indexes = contacts.blind_indexes(referral_form.person(values, clinic_zone=zone))
        keys[line] = {one for one in (indexes["email_index"], indexes["name_birth_index"]) if one}
    seen = _sent(set().union(*keys.values()), practice_id=practice_id)
    found = {}
    for line, own in keys.items():
        repeats = next((seen[key] for key in sorted(own) if key in seen), None)
        if repeats is not None:
            found[line] = repeats.as_text("")
        for key in own:
            seen.setdefault(key, Problem("repeats_row", {"row": line}))
    return found


def _sent(wanted: Collection[bytes], *, practice_id: int) -> dict[bytes, Problem]:
    """Return which of these keys belong to patients whom the practice sent, and the newest referral of each."""
    query = (
        select(Contact.email_index, Contact.name_birth_index, Lead.reference)
        .join(Lead, Lead.contact_id == Contact.id)
        .join(Referral, Referral.lead_id == Lead.id)
        .where(
            Referral.practice_id == practice_id,
            Lead.stage != "entered_in_error",
            or_(Contact.email_index.in_(wanted), Contact.name_birth_index.in_(wanted)),
        )
        .order_by(Lead.id)
    )
    return {
        bytes(key): Problem("repeats_lead", {"reference": row.reference})
        for row in db.session.execute(query)
        for key in (row.email_index, row.name_birth_index)
        if key
    }


def send_rows(
    *, upload_id: int, person: PortalPerson, informed: bool, also: Collection[int], language: str
) -> ReferralUpload:
    """Queue the rows that are ready, and the possible duplicates in `also`; a second submit changes nothing.

    `informed` is the sender's statement that every patient knows; `language` is that of its wording.
    Raises Invalid without it, Conflict before the columns are chosen.
    """
    row = get_for_practice(upload_id=upload_id, practice_id=person.practice_id, lock=True)
    if row.state in (UploadState.TAKING, UploadState.DONE):
        return row
    if row.state != UploadState.MAPPED:
        raise Conflict(CHANGED)
    if not informed:
        raise Invalid({"informed": ["informed"]})
    found = check_file(row)
    rows = [_decide(row.id, line, found, also) for line in found.reads]
    wanted = sum(one["state"] == RowState.WANTED for one in rows)
    if not wanted:
        raise Invalid({"_": ["nothing"]})
    db.session.execute(insert(ReferralUploadRow), rows)
    row.state, row.sender_id, row.language, row.beat_at = UploadState.TAKING, person.id, language, clock.now()
    enqueue("interop.referrals", row.id)
    audit.record(
        "referral_upload.send", object_type="referral_upload", object_id=row.id,
        detail={"rows": len(rows), "sent": wanted},
    )  # fmt: skip
    return row


def _decide(upload_id: int, line: int, found: CheckedFile, also: Collection[int]) -> dict[str, Any]:
    state, reason = RowState.WANTED, None
    if line in found.wrong:
        state, reason = RowState.REFUSED, found.wrong[line]
    elif line in found.duplicates and line not in also:
        state, reason = RowState.DOUBLE, found.duplicates[line]
    return {"upload_id": upload_id, "line": line, "state": state, "reason": reason}


def process(upload_id: int) -> None:
    """Send the rows of a file, a slice and a transaction at a time; resume where it stopped."""
    while True:
        with transaction():
            row = db.session.get(ReferralUpload, upload_id, with_for_update=True, populate_existing=True)
            if row is None or row.state != UploadState.TAKING or row.sender_id is None:
                return
            with audit.acting(f"referrer:{row.sender_id}"):
                _process_slice(row)


def _process_slice(row: ReferralUpload) -> None:
    mine = ReferralUploadRow.upload_id == row.id
    lines = db.session.scalars(
        select(ReferralUploadRow.line)
        .where(mine, ReferralUploadRow.state == RowState.WANTED)
        .order_by(ReferralUploadRow.line)
        .limit(SLICE)
    ).all()
    row.beat_at = clock.now()
    if not lines:
        row.state = UploadState.DONE
        audit.record("referral_upload.done", object_type="referral_upload", object_id=row.id)
        return
    reads = check_file(row, duplicates=False).reads
    person = db.session.get_one(PortalPerson, row.sender_id)
    for line in lines:
        result = _send_row(person, reads.get(line), language=row.language or "en")
        db.session.execute(
            update(ReferralUploadRow).where(mine, ReferralUploadRow.line == line).values(**result)
        )


def _send_row(person: PortalPerson, read: FormResult | None, *, language: str) -> dict[str, Any]:
    if read is None:
        return {"state": RowState.REFUSED, "reason": "gone"}
    if read.wrong:  # the day or the practice's clinicians changed after the check
        return {"state": RowState.REFUSED, "reason": _codes(read)}
    try:
        with db.session.begin_nested():
            lead, is_new = portal.open_from_form(
                person=person, clean=read.clean, language=language, zone=current.calendar().zone.key,
                left_out=read.left_out,
            )  # fmt: skip
    except Conflict as error:
        reason = "external_id:external_id" if "external" in error.message else "npi_taken:npi"
        return {"state": RowState.REFUSED, "reason": reason}
    without = _left_out(read) if is_new else ""
    return {
        "state": RowState.TAKEN if is_new else RowState.KNOWN,
        "lead_id": lead.id,
        "reason": without or None,
    }


def rows_of(upload_id: int) -> Sequence[Any]:
    """Return the result of each line, in order: line, state, reason, reference."""
    query = (
        select(
            ReferralUploadRow.line, ReferralUploadRow.state, ReferralUploadRow.reason, Lead.reference
        )
        .outerjoin(Lead, Lead.id == ReferralUploadRow.lead_id)
        .where(ReferralUploadRow.upload_id == upload_id)
    )  # fmt: skip
    return db.session.execute(query.order_by(ReferralUploadRow.line)).all()


def problems(row: ReferralUpload) -> Iterator[tuple[int, str, bool, list[str]]]:
    """Yield the lines to look at: line, problems as text, whether the row goes in, cells. Record the access.

    Listed are rows that are not sent, and rows that go in without a value that cannot be read.
    """
    audit.record("referral_upload.problems", object_type="referral_upload", object_id=row.id, purpose="care")
    if row.state in NOT_SENT:
        found = check_file(row)
        table, goes_in = found.table, found.without
        stays: dict[int, str] = found.wrong | found.duplicates
    else:
        table, rows = table_of(row), rows_of(row.id)
        goes_in = {one.line: str(one.reason) for one in rows if one.state == RowState.TAKEN and one.reason}
        stays = {
            one.line: one.reason or "" for one in rows if one.state in (RowState.REFUSED, RowState.DOUBLE)
        }
    why = goes_in | stays
    for line in sorted(why):
        yield line, why[line], line not in stays, table.rows.get(line, [])


def discard(*, upload_id: int, practice_id: int) -> None:
    """Delete a file that was not sent. Raises Conflict once it was."""
    row = get_for_practice(upload_id=upload_id, practice_id=practice_id, lock=True)
    if row.state not in NOT_SENT:
        raise Conflict(CHANGED)
    db.session.delete(row)
    audit.record("referral_upload.discard", object_type="referral_upload", object_id=upload_id)


def stalled() -> Sequence[int]:
    """Return files being sent without progress for two minutes."""
    old = ReferralUpload.beat_at < clock.now() - STALLED
    return db.session.scalars(
        select(ReferralUpload.id).where(ReferralUpload.state == UploadState.TAKING, old)
    ).all()


def delete_expired() -> None:
    """Delete files and the results of their rows after a week."""
    db.session.execute(delete(ReferralUpload).where(ReferralUpload.expires_at <= clock.now()))
