"""acts of staff and the rows they changed, so that an act can be undone

A trigger writes the images, but only while `crm.act` is set: so whatever reactions do in the same transaction is kept, too,
and the engine's own statements cost nothing more.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

TABLES = (
    "lead", "referral", "task", "lead_call", "lead_breach", "contact", "contact_tag", "consultation", "alert", "enrolment"
)  # fmt: skip
NOTE = """
create function note_act_change() returns trigger language plpgsql as $$
declare
    was jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - 'version' end;
    is_now jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - 'version' end;
    full_row jsonb := coalesce(is_now, was);
    keys jsonb := '{}';
    name text;
begin
    foreach name in array string_to_array(tg_argv[0], ',') loop
        keys := keys || jsonb_build_object(name, full_row -> name);
    end loop;
    if tg_op = 'UPDATE' then
        select jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, is_now -> o.key) into was, is_now
        from jsonb_each(was) o where o.value is distinct from is_now -> o.key;
        if was is null then
            return null;
        end if;
    end if;
    insert into act_change (act_id, table_name, row_key, before, after)
    values (current_setting('crm.act')::bigint, tg_table_name, keys, was, is_now);
    return null;
end $$
"""
ACTIVE = "coalesce(current_setting('crm.act', true), '') <> ''"


def upgrade():
    op.create_table(
        "staff_act",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("lead_id", sa.BigInteger()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_staff_act_at", "staff_act", ["at"])
    op.create_table(
        "act_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("act_id", sa.BigInteger(), sa.ForeignKey("staff_act.id", ondelete="CASCADE"), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("row_key", postgresql.JSONB(), nullable=False),
        sa.Column("before", postgresql.JSONB()),
        sa.Column("after", postgresql.JSONB()),
    )
    op.create_index("ix_act_change_act", "act_change", ["act_id", "id"])
    op.execute(NOTE)
    for table in TABLES:
        keys = {"referral": "lead_id", "contact_tag": "contact_id,tag"}.get(table, "id")
        op.execute(
            f"create trigger note_act after insert or update or delete on {table} for each row when ({ACTIVE}) "
            f"execute function note_act_change('{keys}')"
        )
    op.execute(
        "create trigger note_act after update on message for each row "
        f"when (old.state is distinct from new.state and {ACTIVE}) execute function note_act_change('id')"
    )


def downgrade():
    for table in (*TABLES, "message"):
        op.execute(f"drop trigger note_act on {table}")
    op.execute("drop function note_act_change()")
    op.drop_table("act_change")
    op.drop_table("staff_act")
