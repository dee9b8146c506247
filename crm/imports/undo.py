"""Undo of an import: remove the people and leads it created, except those that staff have worked on since."""

from sqlalchemy import select

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db, execute_raw, transaction
from crm.imports.models import ImportBatch, ImportState
from crm.imports.service import get
from crm.leads import crisis

# Rows that the import itself and the deadlines write. Any other row that points to a lead or person keeps it.
_OWN = {"lead": ("task", "lead_breach"), "contact": ("lead", "activity", "contact_search")}

_KINDS = (
    "imported",
    "lead_opened",
    "possible_duplicate",
    "told_otherwise",
    "left_out",
)  # in the timeline, by the import


def undo_import(run_id: int) -> None:
    """Remove what an import created, one batch and one transaction at a time; resume where it stopped."""
    while True:
        with transaction():
            run = get(run_id, lock=True)
            if run.state != ImportState.UNDOING:
                return
            batch = db.session.scalar(
                select(ImportBatch)
                .where(ImportBatch.run_id == run_id, ImportBatch.number >= run.done)
                .order_by(ImportBatch.number)
                .limit(1)
            )
            if batch is None:
                run.state, run.done = ImportState.UNDONE, run.rows
                audit.record(
                    "import.undone", object_type="import", object_id=run_id, detail={"kept": run.kept}
                )
                return
            run.kept += _remove(batch)
            run.done, run.beat_at = batch.number + 1, clock.now()
            db.session.flush()


def _remove(batch: ImportBatch) -> int:
    """Remove one batch; return how many people and leads are kept."""
    run = get(batch.run_id)
    given = {
        "contacts": batch.contact_ids,
        "leads": batch.lead_ids,
        "importer": f"staff:{run.user_id}",
        "own_kinds": list(_KINDS),
    }
    gone = execute_raw(_untouched("lead", "leads"), given).scalars().all()
    crisis.close_of_leads(gone)
    execute_raw(_LEADS, {"ids": gone})
    people = execute_raw(_untouched("contact", "contacts"), given).scalars().all()
    execute_raw("delete from activity where contact_id = any(:ids::bigint[])", {"ids": people})
    execute_raw("delete from contact where id = any(:ids::bigint[])", {"ids": people})
    return len(batch.contact_ids) - len(people) + len(batch.lead_ids) - len(gone)


def _untouched(table: str, ids: str) -> str:
    """Return a select of those `ids` of `table` that staff have not worked on."""
    others = [
        (column.table.name, column.name)
        for other in db.metadata.sorted_tables
        if other.name not in _OWN[table]
        for column in other.columns
        if any(key.column.table.name == table for key in column.foreign_keys)
    ]
    pointing = " ".join(
        f'and not exists (select 1 from "{other}" o where o.{column} = t.id)' for other, column in others
    )
    mine = "contact_id = t.id" if table == "contact" else "lead_id = t.id"
    open_leads = (
        "and not exists (select 1 from lead l where l.contact_id = t.id)" if table == "contact" else ""
    )
    tasks = "and not exists (select 1 from task k where k.lead_id = t.id and k.done_at is not null)"
    return f"""
        select t.id from "{table}" t where t.id = any(:{ids}::bigint[]) {open_leads} {tasks if table == "lead" else ""}
            and not exists (select 1 from activity a where a.{mine} and a.actor <> 'system'
                and not (a.actor = :importer and a.kind = any(:own_kinds)))
            {pointing}
        for update
    """


_LEADS = """
    with a as (delete from activity where lead_id = any(:ids::bigint[])),
        b as (delete from task where lead_id = any(:ids::bigint[])),
        c as (delete from lead_breach where lead_id = any(:ids::bigint[]))
    delete from lead where id = any(:ids::bigint[])
"""
