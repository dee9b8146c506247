"""Imports of people from CSV files: upload, check without writing, import in batches of a thousand rows, request an undo."""

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import IO

import orjson
from sqlalchemy import Select, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.contacts.texts import sentence
from crm.core import clock, crypto, csv_files, current
from crm.core.csv_files import BadFile
from crm.core.csv_parser import Record
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.queue import enqueue
from crm.imports import matching, rules, texts
from crm.imports.models import ImportBatch, ImportMapping, ImportPart, ImportRun, ImportState
from crm.imports.rules import Row
from crm.intake import file_texts

PART = 1024 * 1024  # bytes
AT_ONCE = 1000  # rows
SAMPLE, SHOWN = 3, 10  # rows shown before the check, and listed rows shown after
RUNNING = (ImportState.CHECKING, ImportState.IMPORTING, ImportState.UNDOING)


def upload(*, file: IO[bytes], name: str, kind: str, user_id: int) -> ImportRun:
    """Keep a file, encrypted, and return its import, ready to be mapped.

    Raises Invalid for a file that is not a readable CSV file with rows.
    """
    if kind not in (rules.CONTACTS, rules.LEADS):
        raise Invalid({"kind": ["Choose what the file contains."]})
    try:
        found = csv_files.detect(_pieces(file), most_bytes=rules.MOST_BYTES)
        if found.lines < 2:
            raise BadFile("no_rows")
    except BadFile as error:
        raise Invalid({"file": [texts.file_problem(error)]}) from error
    mapping = csv_files.guess_columns(found.header, remembered(user_id), names=rules.OTHER_NAMES)
    now = clock.now()
    run = ImportRun(
        user_id=user_id, kind=kind, name=name[:200], state=ImportState.UPLOADED, encoding=found.encoding,
        delimiter=found.delimiter, header=orjson.dumps(found.header).decode(), mapping=mapping, size=found.size,
        rows=found.lines - 1, created_at=now, beat_at=now,
    )  # fmt: skip
    db.session.add(run)
    db.session.flush()
    file.seek(0)
    for number, piece in enumerate(_pieces(file)):
        sealed = {"run_id": run.id, "number": number, "content": crypto.encrypt(piece)}
        db.session.execute(insert(ImportPart), [sealed])
    audit.record(
        "import.upload", object_type="import", object_id=run.id, detail={"kind": kind, "bytes": run.size}
    )
    return run


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(PART), b"")


def remembered(user_id: int) -> Mapping[str, str]:
    """Return the columns this staff member chose before: folded name of the column -> field."""
    kept = db.session.get(ImportMapping, user_id)
    return kept.mapping if kept else {}


def header(run: ImportRun) -> list[str]:
    """Return the names of the columns."""
    names: list[str] = orjson.loads(run.header)
    return names


def sample(run: ImportRun) -> list[str]:
    """Return, for each column, what its first rows hold; empty once the file is deleted."""
    rows: list[list[str]] = []
    with suppress(BadFile):
        rows = [row.cells for row in islice(_rows(run.id, run.encoding, run.delimiter), SAMPLE)]
    return csv_files.samples(header(run), rows)


def get(run_id: int, *, lock: bool = False) -> ImportRun:
    """Return an import. Raises NotFound."""
    run = db.session.get(ImportRun, run_id, with_for_update=lock or None, populate_existing=lock)
    if run is None:
        raise NotFound("Import not found.")
    return run


def _in_state(run_id: int, *states: ImportState) -> ImportRun:
    run = get(run_id, lock=True)
    if run.state not in states:
        raise Conflict("The state of this import has changed. Reload the page.")
    return run


def check(*, run_id: int, mapping: Mapping[str, str], user_id: int) -> None:
    """Store the chosen columns and queue a check of the file, which writes nothing.

    Raises Invalid for the columns, Conflict while the import runs.
    """
    run = _in_state(run_id, ImportState.UPLOADED, ImportState.CHECKED, ImportState.FAILED)
    if run.finished_at is not None or db.session.scalar(select(ImportBatch.number).filter_by(run_id=run_id)):
        raise Conflict("Some rows of this file are already imported. Upload the file again.")
    names = header(run)
    if wrong := rules.check_mapping(names, mapping):
        raise Invalid({"mapping": wrong})
    kept = csv_files.remember_columns(names, mapping, remembered=remembered(user_id))
    row = insert(ImportMapping).values(user_id=user_id, mapping=kept)
    db.session.execute(
        row.on_conflict_do_update(index_elements=["user_id"], set_={"mapping": row.excluded.mapping})
    )
    run.mapping = dict(mapping)
    _begin(run, ImportState.CHECKING)


def start(*, run_id: int) -> None:
    """Queue the import of a checked file. Raises Conflict for a file that is not checked."""
    run = _in_state(run_id, ImportState.CHECKED)
    _delete_batches(run_id)
    _begin(run, ImportState.IMPORTING)
    audit.record("import.start", object_type="import", object_id=run_id, detail={"rows": run.rows})


def request_undo(*, run_id: int) -> None:
    """Queue the undo of a whole import, within a day. Raises Conflict when it is too late."""
    run = _in_state(run_id, ImportState.DONE)
    if not undoable(run):
        raise Conflict("You can undo an import for 24 hours. This one is older.")
    run.state, run.beat_at, run.done = ImportState.UNDOING, clock.now(), 0
    enqueue("interop.work", run_id)
    audit.record("import.undo", object_type="import", object_id=run_id)


def undoable(run: ImportRun) -> bool:
    """Tell whether an import can still be undone."""
    done = run.finished_at
    return run.state == ImportState.DONE and done is not None and clock.now() < done + rules.UNDO_WITHIN


def _begin(run: ImportRun, state: ImportState) -> None:
    run.state, run.beat_at, run.failure, run.finished_at = state, clock.now(), None, None
    run.done = run.new = run.known = run.duplicates = run.errors = 0
    enqueue("interop.work", run.id)


def _delete_batches(run_id: int) -> None:
    db.session.execute(delete(ImportBatch).where(ImportBatch.run_id == run_id))


def process(run_id: int) -> None:
    """Check or import a file to its end, a thousand rows and one transaction at a time; resume where it stopped."""
    with transaction():
        run = get(run_id)
        state, at, about = run.state, run.done, (run.encoding, run.delimiter, dict(run.mapping))
        if state == ImportState.CHECKING and at == 0:
            _delete_batches(run_id)
    if state not in (ImportState.CHECKING, ImportState.IMPORTING):
        return
    seen: dict[bytes, int] = {}
    rows = islice(_rows(run_id, *about[:2]), at, None)
    try:
        while True:
            batch = list(islice(rows, AT_ONCE))
            with transaction():
                if not _process_batch(run_id, state, at, batch, about[2], seen) or not batch:
                    return
            at += len(batch)
    except BadFile as error:
        with transaction():
            _fail(run_id, f"After row {at:,}: {texts.file_problem(error)}")


def _fail(run_id: int, text: str) -> None:
    run = get(run_id, lock=True)
    imported = run.state == ImportState.IMPORTING  # what is in stays in, and can be undone
    run.state, run.failure = (ImportState.DONE if imported else ImportState.FAILED), text
    run.finished_at = clock.now() if imported else None
    audit.record("import.failed", object_type="import", object_id=run_id)


def _rows(run_id: int, encoding: str, delimiter: str) -> Iterator[Record]:
    """Yield the rows of the stored file, with their number in a spreadsheet."""
    raw: io.RawIOBase = _Parts(run_id)
    return csv_files.read_rows(io.BufferedReader(raw), encoding=encoding, delimiter=delimiter)


class _Parts(io.RawIOBase):
    """The stored file as a stream, with one part in memory at a time."""

    def __init__(self, run_id: int) -> None:
        self.run_id, self.number, self.left = run_id, 0, memoryview(b"")
        self.ended = False  # the reader asks again after the end

    def readable(self) -> bool:
        return True

    def readinto(self, into: bytearray) -> int:  # type: ignore[override]
        if not self.left and not self.ended:
            with transaction():
                wanted = select(ImportPart.content).filter_by(run_id=self.run_id, number=self.number)
                content = db.session.scalar(wanted)
            self.number, self.left = self.number + 1, memoryview(crypto.decrypt(content) if content else b"")
            self.ended = content is None
        size = min(len(into), len(self.left))
        into[:size], self.left = self.left[:size], self.left[size:]
        return size


def _process_batch(
    run_id: int, state: str, at: int, batch: Sequence[Record], mapping: Mapping[str, str],
    seen: dict[bytes, int],
) -> bool:  # fmt: skip
    """Process one batch; return False when another worker goes on with this import."""
    run = get(run_id, lock=True)
    if run.state != state or run.done != at:
        return False
    run.beat_at = clock.now()
    if not batch:
        _finish(run, rows=at)
        return True
    with audit.acting(f"staff:{run.user_id}"):
        _import_batch(run, at, batch, mapping, seen)
    return True


def _finish(run: ImportRun, *, rows: int) -> None:
    run.rows = rows
    if run.state == ImportState.CHECKING:
        run.state, run.finished_at = ImportState.CHECKED, None
        return
    run.state, run.finished_at = ImportState.DONE, clock.now()
    counts = {name: getattr(run, name) for name in ("rows", "new", "known", "duplicates", "errors")}
    audit.record("import.done", object_type="import", object_id=run.id, detail=counts)


def _import_batch(
    run: ImportRun,
    at: int,
    batch: Sequence[Record],
    mapping: Mapping[str, str],
    seen: dict[bytes, int],
) -> None:
    zone, today = current.calendar().zone.key, clock.today()
    good: list[Row] = []
    listed: list[tuple[int, str]] = []
    for line, cells, problem in batch:
        row = rules.read_row(cells, line=line, mapping=mapping, zone=zone, today=today, problem=problem)
        if isinstance(row, Row):
            good.append(row)
        else:
            listed.append((line, " ".join(row)))
    run.done, run.errors = at + len(batch), run.errors + len(listed)
    write = run.state == ImportState.IMPORTING
    outcome = matching.import_rows(good, kind=run.kind, seen=seen, write=write, run_id=run.id)
    run.new, run.known = run.new + outcome.new, run.known + outcome.known
    run.duplicates += len(outcome.duplicates)
    if write:
        _watch_others(
            batch, {line for line, _ in listed} | {row.line for row, _ in outcome.duplicates}, run.id
        )
    listed += _listed_rows(good, outcome)
    cells_of = {row.number: row.cells for row in batch} if listed else {}
    problems = [[line, words, cells_of[line]] for line, words in sorted(listed)]
    db.session.add(
        ImportBatch(
            run_id=run.id, number=at // AT_ONCE, contact_ids=outcome.contact_ids, lead_ids=outcome.lead_ids,
            problems=orjson.dumps(problems).decode() if problems else None,
        )
    )  # fmt: skip
    db.session.flush()
    db.session.expunge_all()


def _watch_others(batch: Sequence[Record], lines: Collection[int], run_id: int) -> None:
    """Alert staff to rows that are not stored and speak of a crisis: nobody else sees them."""
    for row in batch:
        if row.number in lines:
            matching.alert_if_crisis(row.cells, line=row.number, run_id=run_id)


def _listed_rows(rows: Sequence[Row], outcome: matching.Outcome) -> list[tuple[int, str]]:
    """Return the readable rows to look at: duplicates, and those imported without some of their cells."""
    skipped = {row.line: sentence(repeats) for row, repeats in outcome.duplicates}
    without = {row.line: texts.incomplete(row.left_out) for row in rows if row.left_out}
    return list((without | skipped).items())


def problems(run_id: int) -> Iterator[list[str]]:
    """Yield the listed rows as they stand in the file, after their number and what is wrong.

    Listed are rows that were refused, that repeat another one, or that came in without one of their cells.
    """
    run = get(run_id)
    audit.record(
        "import.problems",
        object_type="import",
        object_id=run_id,
        detail={"rows": run.errors + run.duplicates},
    )
    yield [*file_texts.heading(), *header(run)]
    for sealed in db.session.scalars(_listed(run_id)):
        for line, words, cells in orjson.loads(sealed or "[]"):
            yield [str(line), words, *cells]


def _listed(run_id: int) -> Select[str | None]:
    listed = (ImportBatch.run_id == run_id, ImportBatch.problems.is_not(None))
    return select(ImportBatch.problems).where(*listed).order_by(ImportBatch.number)


def first_problems(run_id: int) -> list[tuple[int, str, str]]:
    """Return the first listed rows: their line, what is wrong, and what they hold."""
    sealed = db.session.scalar(_listed(run_id).limit(1))
    return [
        (line, words, " · ".join(filter(None, map(csv_files.shown, cells)))[:200])
        for line, words, cells in orjson.loads(sealed or "[]")[:SHOWN]
    ]


def latest() -> Sequence[ImportRun]:
    """Return the last imports, newest first."""
    return db.session.scalars(select(ImportRun).order_by(ImportRun.id.desc()).limit(20)).all()


def stalled() -> Sequence[int]:
    """Return running imports without progress for two minutes."""
    old = ImportRun.beat_at < clock.now() - rules.STALLED
    return db.session.scalars(select(ImportRun.id).where(ImportRun.state.in_(RUNNING), old)).all()


def delete_expired() -> None:
    """Delete files and refused rows a week after the upload."""
    old = select(ImportRun.id).where(ImportRun.created_at < clock.now() - rules.KEPT)
    db.session.execute(delete(ImportPart).where(ImportPart.run_id.in_(old)))
    db.session.execute(
        update(ImportBatch)
        .where(ImportBatch.run_id.in_(old), ImportBatch.problems.is_not(None))
        .values(problems=None)
    )
