"""Importing files of people: kept encrypted, tried without writing, taken in a thousand rows at a time, taken back."""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import IO

import orjson
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.contacts.rules import folded
from crm.core import business_hours, clock, crypto
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.queue import enqueue
from crm.imports import matching, rules
from crm.imports.models import ImportBatch, ImportMapping, ImportPart, ImportRun
from crm.imports.rules import Row, Unreadable

PART = 1024 * 1024  # bytes
AT_ONCE = 1000  # rows
PROBLEM_CELLS = 2000  # characters of one row that are kept to be shown again
SAMPLE, SHOWN = 3, 10  # rows shown before, and refused rows shown after
RUNNING = ("checking", "importing", "undoing")
TOO_LARGE = "The file is larger than 50 MB. Split it and import the parts one after the other."


def upload(*, file: IO[bytes], name: str, kind: str, user_id: int) -> ImportRun:
    """Keep a file, encrypted, and return its import, ready to be mapped. Raises Invalid for what is no CSV file."""
    if kind not in (rules.CONTACTS, rules.LEADS):
        raise Invalid({"kind": ["Choose what the file holds."]})
    try:
        encoding, size, lines = _look(file)
        file.seek(0)
        delimiter, header = rules.header_of(_start(file, encoding))
        if lines < 2:
            raise Unreadable("The file holds column names and no rows.")
    except Unreadable as error:
        raise Invalid({"file": [str(error)]}) from error
    now = clock.now()
    run = ImportRun(
        user_id=user_id, kind=kind, name=name[:200], state="uploaded", encoding=encoding, delimiter=delimiter,
        header=orjson.dumps(header).decode(), mapping=rules.guess(header, remembered(user_id)), size=size,
        rows=lines - 1, created_at=now, beat_at=now,
    )  # fmt: skip
    db.session.add(run)
    db.session.flush()
    file.seek(0)
    for number, part in enumerate(iter(lambda: file.read(PART), b"")):
        sealed = {"run_id": run.id, "number": number, "content": crypto.encrypt(part)}
        db.session.execute(insert(ImportPart), [sealed])
    audit.record(
        "import.upload", object_type="import", object_id=run.id, detail={"kind": kind, "bytes": size}
    )
    return run


def _look(file: IO[bytes]) -> tuple[str, int, int]:
    """Read a file through once; return its encoding, its bytes, and about how many lines it has."""
    start = file.read(4096)
    encoding = rules.encoding_of(start)
    utf8, size, lines, last = codecs.getincrementaldecoder("utf-8")(), 0, 0, b"\n"
    is_utf8 = True
    part = start
    while part:
        size += len(part)
        if size > rules.MOST_BYTES:
            raise Unreadable(TOO_LARGE)
        if b"\0" in part and not (encoding or "").startswith("utf-16"):
            raise Unreadable(
                "The file is not a text file. Save the table as “CSV UTF-8” and choose that file."
            )
        is_utf8 = is_utf8 and _decodes(utf8, part)
        lines, last = lines + (part.count(b"\n") or part.count(b"\r")), part[-2:].strip(b"\0")
        part = file.read(PART)
    is_utf8 = is_utf8 and _decodes(utf8, b"", final=True)
    return (
        encoding or ("utf-8" if is_utf8 else "latin-1"),
        size,
        lines + (not last.endswith((b"\n", b"\r"))),
    )


def _decodes(decoder: codecs.IncrementalDecoder, part: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(part, final)
    except UnicodeDecodeError:
        return False
    return True


def _start(file: IO[bytes], encoding: str) -> str:
    return codecs.getincrementaldecoder(encoding)("replace").decode(file.read(2 * PART))


def remembered(user_id: int) -> Mapping[str, str]:
    """Return what this person chose for columns before: folded name of the column -> field."""
    kept = db.session.get(ImportMapping, user_id)
    return kept.mapping if kept else {}


def header(run: ImportRun) -> list[str]:
    names: list[str] = orjson.loads(run.header)
    return names


def sample(run: ImportRun) -> list[str]:
    """Return, for each column, what its first rows hold, to tell by what the column is; empty once the file is gone."""
    names, lines = header(run), []
    with suppress(csv.Error, UnicodeError):
        lines = [cells for _, cells in islice(_lines(run.id, run.encoding, run.delimiter), SAMPLE)]
    found = []
    for number in range(len(names)):
        cells = (rules.shown(cells[number]) for cells in lines if number < len(cells))
        found.append(" · ".join(dict.fromkeys(cell for cell in cells if cell)))
    return found


def get(run_id: int, *, lock: bool = False) -> ImportRun:
    """Return an import. Raises NotFound."""
    run = db.session.get(ImportRun, run_id, with_for_update=lock or None, populate_existing=lock)
    if run is None:
        raise NotFound("There is no such import.")
    return run


def _in_state(run_id: int, *states: str) -> ImportRun:
    run = get(run_id, lock=True)
    if run.state not in states:
        raise Conflict("This import is not where you saw it last. Look at it again.")
    return run


def check(*, run_id: int, mapping: Mapping[str, str], user_id: int) -> None:
    """Remember what the columns are and ask for a dry run. Raises Invalid, and Conflict while it runs."""
    run = _in_state(run_id, "uploaded", "checked", "failed")
    if run.finished_at is not None or db.session.scalar(select(ImportBatch.number).filter_by(run_id=run_id)):
        raise Conflict("Rows of this file are in already. Upload it again.")
    names = header(run)
    if wrong := rules.check_mapping(names, mapping):
        raise Invalid({"mapping": wrong})
    chosen = {folded(name): mapping.get(str(number), "") for number, name in enumerate(names)}
    kept = {**remembered(user_id), **chosen}
    row = insert(ImportMapping).values(user_id=user_id, mapping=dict(list(kept.items())[-500:]))
    db.session.execute(
        row.on_conflict_do_update(index_elements=["user_id"], set_={"mapping": row.excluded.mapping})
    )
    run.mapping = dict(mapping)
    _begin(run, "checking")


def start(*, run_id: int) -> None:
    """Take in what the dry run found. Raises Conflict where there was none."""
    run = _in_state(run_id, "checked")
    _forget_batches(run_id)
    _begin(run, "importing")
    audit.record("import.start", object_type="import", object_id=run_id, detail={"rows": run.rows})


def undo(*, run_id: int) -> None:
    """Take a whole import back, within a day. Raises Conflict when it is too late."""
    run = _in_state(run_id, "done")
    if not undoable(run):
        raise Conflict("An import can be taken back for 24 hours. This one is older.")
    run.state, run.beat_at, run.done = "undoing", clock.now(), 0
    enqueue("interop.work", run_id)
    audit.record("import.undo", object_type="import", object_id=run_id)


def undoable(run: ImportRun) -> bool:
    """Tell whether an import can still be taken back."""
    done = run.finished_at
    return run.state == "done" and done is not None and clock.now() < done + rules.UNDO_WITHIN


def _begin(run: ImportRun, state: str) -> None:
    run.state, run.beat_at, run.failure, run.finished_at = state, clock.now(), None, None
    run.done = run.new = run.known = run.duplicates = run.errors = 0
    enqueue("interop.work", run.id)


def _forget_batches(run_id: int) -> None:
    db.session.execute(delete(ImportBatch).where(ImportBatch.run_id == run_id))


def work(run_id: int) -> None:
    """Check or import a file to its end, a thousand rows and one transaction at a time; goes on where it stopped."""
    with transaction():
        run = get(run_id)
        state, at, about = run.state, run.done, (run.encoding, run.delimiter, dict(run.mapping))
        if state == "checking" and at == 0:
            _forget_batches(run_id)
    if state not in ("checking", "importing"):
        return
    seen: set[bytes] = set()
    rows = islice(_lines(run_id, *about[:2]), at, None)
    try:
        while True:
            batch = list(islice(rows, AT_ONCE))
            with transaction():
                if not _step(run_id, state, at, batch, about[2], seen) or not batch:
                    return
            at += len(batch)
    except (csv.Error, UnicodeError, Unreadable) as error:
        with transaction():
            _fail(run_id, f"After row {at:,}: {_told(error)}")


def _told(error: Exception) -> str:
    if "field larger" in str(error):
        return "a cell is longer than any cell can be; a quotation mark may be missing its partner."
    return "the file cannot be read from here on."


def _fail(run_id: int, text: str) -> None:
    run = get(run_id, lock=True)
    run.state, run.failure = ("done" if run.state == "importing" else "failed"), text
    run.finished_at = clock.now() if run.state == "done" else None
    audit.record("import.failed", object_type="import", object_id=run_id)


def _lines(run_id: int, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of the file after its header, with their line in a spreadsheet; empty rows are left out."""
    raw: io.RawIOBase = _Parts(run_id)
    text = io.TextIOWrapper(io.BufferedReader(raw), encoding=encoding, newline="")
    found = ((n, cells) for n, cells in enumerate(csv.reader(text, delimiter=delimiter), 1) if any(cells))
    next(found, None)
    yield from found


class _Parts(io.RawIOBase):
    """The stored file as a stream; one part at a time is in memory."""

    def __init__(self, run_id: int) -> None:
        self.run_id, self.number, self.left = run_id, 0, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, into: bytearray) -> int:  # type: ignore[override]
        if not self.left:
            with transaction():
                wanted = select(ImportPart.content).filter_by(run_id=self.run_id, number=self.number)
                content = db.session.scalar(wanted)
            self.number, self.left = self.number + 1, memoryview(crypto.decrypt(content) if content else b"")
        size = min(len(into), len(self.left))
        into[:size], self.left = self.left[:size], self.left[size:]
        return size


def _step(
    run_id: int, state: str, at: int, batch: Sequence[tuple[int, list[str]]], mapping: Mapping[str, str],
    seen: set[bytes],
) -> bool:  # fmt: skip
    """One batch; False when somebody else goes on with this import."""
    run = get(run_id, lock=True)
    if run.state != state or run.done != at:
        return False
    run.beat_at = clock.now()
    if not batch:
        run.rows, run.state = at, "checked" if state == "checking" else "done"
        run.finished_at = clock.now() if state == "importing" else None
        if state == "importing":
            counts = {name: getattr(run, name) for name in ("rows", "new", "known", "duplicates", "errors")}
            audit.record("import.done", object_type="import", object_id=run_id, detail=counts)
        return True
    with audit.acting(f"staff:{run.user_id}"):
        _take(run, at, batch, mapping, seen)
    return True


def _take(
    run: ImportRun,
    at: int,
    batch: Sequence[tuple[int, list[str]]],
    mapping: Mapping[str, str],
    seen: set[bytes],
) -> None:
    zone, today = business_hours.clinic().zone.key, clock.now().date()
    good: list[Row] = []
    problems = []
    for line, cells in batch:
        row = rules.read(cells, line=line, mapping=mapping, zone=zone, today=today)
        if isinstance(row, Row):
            good.append(row)
        else:
            kept = [cell[:PROBLEM_CELLS] for cell in cells[: rules.MOST_COLUMNS]]
            problems.append([line, " ".join(row), kept])
    write = run.state == "importing"
    outcome = matching.take(good, kind=run.kind, seen=seen, write=write, run_id=run.id)
    run.done, run.errors = at + len(batch), run.errors + len(problems)
    run.new, run.known = run.new + outcome.new, run.known + outcome.known
    run.duplicates += outcome.duplicates
    db.session.add(
        ImportBatch(
            run_id=run.id, number=at // AT_ONCE, contact_ids=outcome.contact_ids, lead_ids=outcome.lead_ids,
            problems=orjson.dumps(problems).decode() if problems else None,
        )
    )  # fmt: skip
    db.session.flush()
    db.session.expunge_all()


def problems(run_id: int) -> Iterator[list[str]]:
    """Return the rows that were refused as the file had them, first their line and what is wrong."""
    run = get(run_id)
    audit.record("import.problems", object_type="import", object_id=run_id, detail={"rows": run.errors})
    yield ["Line", "What is wrong", *header(run)]
    wanted = select(ImportBatch.problems).where(
        ImportBatch.run_id == run_id, ImportBatch.problems.is_not(None)
    )
    for sealed in db.session.scalars(wanted.order_by(ImportBatch.number)):
        for line, words, cells in orjson.loads(sealed or "[]"):
            yield [str(line), words, *cells]


def first_problems(run_id: int) -> list[tuple[int, str, str]]:
    """Return the first rows that were refused: their line, what is wrong, and what they hold."""
    refused = (ImportBatch.run_id == run_id, ImportBatch.problems.is_not(None))
    sealed = db.session.scalar(
        select(ImportBatch.problems).where(*refused).order_by(ImportBatch.number).limit(1)
    )
    rows = orjson.loads(sealed or "[]")[:SHOWN]
    return [
        (line, words, " · ".join(filter(None, map(rules.shown, cells)))[:200]) for line, words, cells in rows
    ]


def newest() -> Sequence[ImportRun]:
    """Return the last imports, newest first."""
    return db.session.scalars(select(ImportRun).order_by(ImportRun.id.desc()).limit(20)).all()


def stalled() -> Sequence[int]:
    """Return the imports that nobody has worked on for two minutes though they are not done."""
    old = ImportRun.beat_at < clock.now() - rules.STALLED
    return db.session.scalars(select(ImportRun.id).where(ImportRun.state.in_(RUNNING), old)).all()


def forget_old() -> None:
    """Drop files and rows that could not be read once an import can no longer be taken back."""
    old = select(ImportRun.id).where(ImportRun.created_at < clock.now() - rules.KEPT)
    db.session.execute(delete(ImportPart).where(ImportPart.run_id.in_(old)))
    db.session.execute(
        update(ImportBatch)
        .where(ImportBatch.run_id.in_(old), ImportBatch.problems.is_not(None))
        .values(problems=None)
    )
