"""A practice's file of referrals: kept a week, encrypted; looked through; its rows taken in as the form takes one.

A practice reaches its own files alone. What a row may say is decided by the form's rules, what becomes of it by the
form's service; each line of a file is taken once, by constraint.
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
from crm.contacts.rules import folded
from crm.core import business_hours, clock, crypto
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.queue import enqueue
from crm.imports.rules import STALLED
from crm.leads.models import Lead, Referral
from crm.portal import file_types
from crm.portal import form as portal_form
from crm.portal import queries as portal_queries
from crm.portal import service as portal
from crm.portal.form import Read
from crm.portal.uploads import rules
from crm.portal.uploads.models import ReferralColumns, ReferralUpload, ReferralUploadRow
from crm.portal.uploads.rules import Table
from crm.referrers.models import Clinician, PortalPerson

LIFE = timedelta(days=7)
SLICE = 25  # rows in one transaction
MOVED_ON = "This file is not where you saw it last. Look at it again."


def upload(*, person: PortalPerson, name: str, content: bytes) -> ReferralUpload:
    """Keep a file, encrypted, its columns guessed. Raises `Unfit` for what is no fit table."""
    table = rules.read_table(content)
    now = clock.now()
    row = ReferralUpload(
        practice_id=person.practice_id, person_id=person.id, state="uploaded", name=file_types.safe_name(name),
        content=crypto.encrypt(content), rows=len(table.rows),
        mapping=rules.guess(table.header, remembered(person.practice_id)), created_at=now, beat_at=now,
        expires_at=now + LIFE,
    )  # fmt: skip
    db.session.add(row)
    db.session.flush()
    audit.record(
        "referral_upload.add", object_type="referral_upload", object_id=row.id, detail={"rows": row.rows}
    )
    return row


def remembered(practice_id: int) -> Mapping[str, str]:
    """Return what this practice chose for columns before: folded name of the column -> field."""
    kept = db.session.get(ReferralColumns, practice_id)
    found: dict[str, str] = orjson.loads(kept.mapping) if kept else {}
    return found


def newest(practice_id: int) -> Sequence[ReferralUpload]:
    """Return the practice's last files, newest first."""
    query = select(ReferralUpload).where(
        ReferralUpload.practice_id == practice_id, ReferralUpload.expires_at > clock.now()
    )
    return db.session.scalars(query.order_by(ReferralUpload.id.desc()).limit(20)).all()


def of_practice(*, upload_id: int, practice_id: int, lock: bool = False) -> ReferralUpload:
    """Return a file of this practice. Raises NotFound, the same for another practice's, an old one and none."""
    query = select(ReferralUpload).where(
        ReferralUpload.id == upload_id,
        ReferralUpload.practice_id == practice_id,
        ReferralUpload.expires_at > clock.now(),
    )
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    row = db.session.scalar(query)
    if row is None:
        raise NotFound("Your practice has no such file here. Files are kept for 7 days.")
    return row


def table_of(row: ReferralUpload) -> Table:
    """Return what the file holds; nothing once it is gone."""
    if row.content is None:
        return Table(header=[], rows={})
    return rules.read_table(crypto.decrypt(row.content))


def choose(
    *, upload_id: int, practice_id: int, mapping: Mapping[str, str], clinician_id: int | None
) -> ReferralUpload:
    """Say what the columns are and who refers where a row does not say; remembered for the practice's next file.

    Raises Invalid with "code:field" of what is wrong, and Conflict once its rows are sent.
    """
    row = of_practice(upload_id=upload_id, practice_id=practice_id, lock=True)
    if row.state not in ("uploaded", "mapped"):
        raise Conflict(MOVED_ON)
    header = table_of(row).header
    if wrong := rules.check_mapping(header, mapping):
        raise Invalid({"mapping": [f"{code}:{name}" for code, name in wrong]})
    if clinician_id is not None and clinician_id not in {
        one.id for one in portal_queries.clinicians_of(practice_id)
    }:
        raise Invalid({"clinician": ["choice:clinician"]})
    chosen = {folded(name): mapping.get(str(number), "") for number, name in enumerate(header)}
    kept = orjson.dumps(dict(list({**remembered(practice_id), **chosen}.items())[-500:])).decode()
    memory = insert(ReferralColumns).values(practice_id=practice_id, mapping=kept)
    db.session.execute(
        memory.on_conflict_do_update(
            index_elements=["practice_id"], set_={"mapping": memory.excluded.mapping}
        )
    )
    row.mapping, row.clinician_id, row.state = dict(mapping), clinician_id, "mapped"
    return row


@dataclass(kw_only=True)
class Findings:
    """A file looked through: line -> what it says, what is wrong with it (codes), and who seems sent already."""

    table: Table
    reads: dict[int, Read] = field(default_factory=dict)
    wrong: dict[int, str] = field(default_factory=dict)
    doubles: set[int] = field(default_factory=set)

    @property
    def good(self) -> list[int]:
        """Lines that are in order and no doubles."""
        return [line for line in self.reads if line not in self.wrong and line not in self.doubles]


def look_through(row: ReferralUpload, *, doubles: bool = True) -> Findings:
    """Read every row of a file by the rules of the form. Writes nothing."""
    found = Findings(table=table_of(row))
    found.reads = _read(row, found.table)
    found.wrong = {
        line: " ".join(f"{code}:{name}" for name, code in read.wrong.items())
        for line, read in found.reads.items()
        if read.wrong
    }
    if doubles:
        clean = {line: read.clean for line, read in found.reads.items() if line not in found.wrong}
        found.doubles = _doubles(clean, practice_id=row.practice_id)
    return found


def _read(row: ReferralUpload, table: Table) -> dict[int, Read]:
    own = portal_queries.clinicians_of(row.practice_id)
    npis = {one.npi: str(one.id) for one in own}
    default = str(row.clinician_id or "")
    answers = {
        line: rules.answers_of(cells, mapping=row.mapping, clinician=default, npis=npis)
        for line, cells in table.rows.items()
    }
    told = {"".join(one["npi"].split()) for one in answers.values()} - {""}
    strangers = set(
        db.session.scalars(
            select(Clinician.npi).where(Clinician.npi.in_(told), Clinician.practice_id != row.practice_id)
        )
    )
    names = {str(one.id): (one.name, one.npi) for one in own}
    today = clock.now().date()
    return {
        line: rules.read_row(one, clinicians=names, strangers=strangers, today=today)
        for line, one in answers.items()
    }


def _doubles(clean: Mapping[int, Mapping[str, Any]], *, practice_id: int) -> set[int]:
    """Return lines of people this practice has sent already, by name and birth date or by email; or further up."""
    zone = business_hours.clinic().zone.key
    keys = {}
    for line, values in clean.items():
        indexes = contacts.blind_indexes(portal_form.person(values, clinic_zone=zone))
        keys[line] = {one for one in (indexes["email_index"], indexes["name_birth_index"]) if one}
    seen = _sent(set().union(*keys.values()), practice_id=practice_id)
    found = set()
    for line, own in keys.items():
        if own & seen:
            found.add(line)
        seen |= own
    return found


def _sent(wanted: Collection[bytes], *, practice_id: int) -> set[bytes]:
    query = (
        select(Contact.email_index, Contact.name_birth_index)
        .join(Lead, Lead.contact_id == Contact.id)
        .join(Referral, Referral.lead_id == Lead.id)
        .where(
            Referral.practice_id == practice_id,
            Lead.stage != "entered_in_error",
            or_(Contact.email_index.in_(wanted), Contact.name_birth_index.in_(wanted)),
        )
    )
    return {bytes(one) for pair in db.session.execute(query) for one in pair if one}


def accept(
    *, upload_id: int, person: PortalPerson, informed: bool, also: Collection[int], language: str
) -> ReferralUpload:
    """Send the rows that are in order, and of the possible doubles those in `also`; a second press changes nothing.

    `informed`: the box by which the sender says that every patient knows was ticked; `language`: of its wording.
    Raises Invalid where it was not, Conflict before the columns are chosen.
    """
    row = of_practice(upload_id=upload_id, practice_id=person.practice_id, lock=True)
    if row.state in ("taking", "done"):
        return row
    if row.state != "mapped":
        raise Conflict(MOVED_ON)
    if not informed:
        raise Invalid({"informed": ["informed"]})
    found = look_through(row)
    rows = [_fate(row.id, line, found, also) for line in found.reads]
    wanted = sum(one["state"] == "wanted" for one in rows)
    if not wanted:
        raise Invalid({"_": ["nothing"]})
    db.session.execute(insert(ReferralUploadRow), rows)
    row.state, row.sender_id, row.language, row.beat_at = "taking", person.id, language, clock.now()
    enqueue("interop.referrals", row.id)
    audit.record(
        "referral_upload.send", object_type="referral_upload", object_id=row.id,
        detail={"rows": len(rows), "sent": wanted},
    )  # fmt: skip
    return row


def _fate(upload_id: int, line: int, found: Findings, also: Collection[int]) -> dict[str, Any]:
    fate, reason = "wanted", None
    if line in found.wrong:
        fate, reason = "refused", found.wrong[line]
    elif line in found.doubles and line not in also:
        fate, reason = "double", "double"
    return {"upload_id": upload_id, "line": line, "state": fate, "reason": reason}


def work(upload_id: int) -> None:
    """Take the rows of a file in, a slice and a transaction at a time; goes on where it stopped."""
    while True:
        with transaction():
            row = db.session.get(ReferralUpload, upload_id, with_for_update=True, populate_existing=True)
            if row is None or row.state != "taking" or row.sender_id is None:
                return
            with audit.acting(f"referrer:{row.sender_id}"):
                _step(row)


def _step(row: ReferralUpload) -> None:
    mine = ReferralUploadRow.upload_id == row.id
    lines = db.session.scalars(
        select(ReferralUploadRow.line)
        .where(mine, ReferralUploadRow.state == "wanted")
        .order_by(ReferralUploadRow.line)
        .limit(SLICE)
    ).all()
    row.beat_at = clock.now()
    if not lines:
        row.state = "done"
        audit.record("referral_upload.done", object_type="referral_upload", object_id=row.id)
        return
    reads = look_through(row, doubles=False).reads
    person = db.session.get_one(PortalPerson, row.sender_id)
    for line in lines:
        fate = _take(person, reads.get(line), language=row.language or "en")
        db.session.execute(
            update(ReferralUploadRow).where(mine, ReferralUploadRow.line == line).values(**fate)
        )


def _take(person: PortalPerson, read: Read | None, *, language: str) -> dict[str, Any]:
    if read is None:
        return {"state": "refused", "reason": "gone"}
    if read.wrong:  # the day, or the practice's clinicians, have changed since
        return {
            "state": "refused",
            "reason": " ".join(f"{code}:{name}" for name, code in read.wrong.items()),
        }
    try:
        with db.session.begin_nested():
            lead, is_new = portal.take_in(
                person=person, clean=read.clean, language=language, zone=business_hours.clinic().zone.key
            )
    except Conflict as error:
        reason = "external_id:external_id" if "external" in error.message else "npi_taken:npi"
        return {"state": "refused", "reason": reason}
    return {"state": "taken" if is_new else "known", "lead_id": lead.id}


def rows_of(upload_id: int) -> Sequence[Any]:
    """Return what became of each line, in order: line, state, reason, reference."""
    query = (
        select(
            ReferralUploadRow.line, ReferralUploadRow.state, ReferralUploadRow.reason, Lead.reference
        )
        .outerjoin(Lead, Lead.id == ReferralUploadRow.lead_id)
        .where(ReferralUploadRow.upload_id == upload_id)
    )  # fmt: skip
    return db.session.execute(query.order_by(ReferralUploadRow.line)).all()


def problems(row: ReferralUpload) -> Iterator[tuple[int, str, list[str]]]:
    """Return the lines that were not sent: line, codes of what is wrong, cells. The look is noted."""
    audit.record("referral_upload.problems", object_type="referral_upload", object_id=row.id, purpose="care")
    if row.state in ("uploaded", "mapped"):
        found = look_through(row)
        table, why = found.table, found.wrong | dict.fromkeys(found.doubles, "double")
    else:
        table = table_of(row)
        why = {one.line: one.reason or "" for one in rows_of(row.id) if one.state in ("refused", "double")}
    for line in sorted(why):
        yield line, why[line], table.rows.get(line, [])


def discard(*, upload_id: int, practice_id: int) -> None:
    """Forget a file that was not sent. Raises Conflict once it was."""
    row = of_practice(upload_id=upload_id, practice_id=practice_id, lock=True)
    if row.state not in ("uploaded", "mapped"):
        raise Conflict(MOVED_ON)
    db.session.delete(row)
    audit.record("referral_upload.discard", object_type="referral_upload", object_id=upload_id)


def stalled() -> Sequence[int]:
    """Return files on whose rows nobody has worked for two minutes though they are not done."""
    old = ReferralUpload.beat_at < clock.now() - STALLED
    return db.session.scalars(select(ReferralUpload.id).where(ReferralUpload.state == "taking", old)).all()


def forget_old() -> None:
    """Drop files, and what became of their rows, once their week is over."""
    db.session.execute(delete(ReferralUpload).where(ReferralUpload.expires_at <= clock.now()))
