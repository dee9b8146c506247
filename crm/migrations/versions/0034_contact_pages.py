"""contacts as pages of their own: more names and numbers of a person, the history of edits, indexes of the list

The name by which a person wants to be called is searched like the others.
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

KINDS = "('mobile', 'home', 'work', 'guardian', 'other')"
KEYS_OF_ROW = """
        select {row}.id, k from contact_search_keys({row}.first_name, {row}.last_name) k where {row}.erased_at is null
        union
        select {row}.id, k from contact_search_keys({row}.preferred_name, {row}.last_name) k
        where {row}.erased_at is null and {row}.preferred_name is not null
"""
INSERTED = """
create or replace function contact_search_insert() returns trigger language plpgsql as $$
begin
    insert into contact_search (contact_id, key)
    select r.id, k from rows r, contact_search_keys(r.first_name, r.last_name) k where r.erased_at is null
    union
    select r.id, k from rows r, contact_search_keys(r.preferred_name, r.last_name) k
    where r.erased_at is null and r.preferred_name is not null
    on conflict do nothing;
    return null;
end $$
"""
UPDATED = f"""
create or replace function contact_search_update() returns trigger language plpgsql as $$
begin
    delete from contact_search where contact_id = new.id;
    insert into contact_search (contact_id, key)
    {KEYS_OF_ROW.format(row="new")}
    on conflict do nothing;
    return null;
end $$
"""
TRIGGER = """
create trigger contact_search_update after update of first_name, last_name, preferred_name, erased_at on contact
    for each row when (old.first_name is distinct from new.first_name or old.last_name is distinct from new.last_name
        or old.preferred_name is distinct from new.preferred_name or old.erased_at is distinct from new.erased_at)
    execute function contact_search_update()
"""
ACTIVE = "coalesce(current_setting('crm.act', true), '') <> ''"


def upgrade():
    op.add_column("contact", sa.Column("preferred_name", sa.Text()))
    op.add_column("contact", sa.Column("phone_kind", sa.Text()))
    op.add_column("contact", sa.Column("chart_number", sa.Text()))
    op.add_column("contact", sa.Column("guardian", sa.LargeBinary()))
    op.add_column("contact", sa.Column("edited_at", sa.DateTime(timezone=True)))
    op.create_check_constraint(op.f("ck_contact_phone_kind"), "contact", f"phone_kind in {KINDS}")
    op.create_index("ix_contact_created", "contact", ["created_at", "id"])
    op.create_index("ix_contact_language", "contact", ["language", "id"])
    op.create_index("ix_contact_state", "contact", ["state", "id"], postgresql_where=sa.text("state is not null"))
    op.create_index("ix_contact_chart_number", "contact", [sa.text("lower(chart_number)")],
                    postgresql_where=sa.text("chart_number is not null"))  # fmt: skip
    op.create_index("ix_lead_source_contact", "lead", ["source", "contact_id"])
    op.execute(INSERTED)
    op.execute(UPDATED)
    op.execute("drop trigger contact_search_update on contact")
    op.execute(TRIGGER)
    _more_phones()
    _changes()
    op.add_column("saved_filter", sa.Column("list", sa.Text(), nullable=False, server_default="leads"))
    op.drop_constraint(op.f("uq_saved_filter_user_id_name"), "saved_filter", type_="unique")
    op.create_unique_constraint(op.f("uq_saved_filter_user_id_list_name"), "saved_filter", ["user_id", "list", "name"])


def _more_phones():
    op.create_table(
        "contact_phone",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("contact_id", sa.BigInteger(), sa.ForeignKey("contact.id"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("number", sa.LargeBinary(), nullable=False),
        sa.Column("phone_index", sa.LargeBinary(), nullable=False),
        sa.Column("phone_last4_index", sa.LargeBinary()),
        sa.Column("phone_last7_index", sa.LargeBinary()),
        sa.CheckConstraint(f"kind in {KINDS}", name=op.f("ck_contact_phone_kind")),
        sa.UniqueConstraint("contact_id", "phone_index", name=op.f("uq_contact_phone_contact_id_phone_index")),
    )
    for name in ("phone_index", "phone_last4_index", "phone_last7_index"):
        op.create_index(f"ix_contact_phone_{name}", "contact_phone", [name, "contact_id"])
    op.execute(
        f"create trigger note_act after insert or update or delete on contact_phone for each row when ({ACTIVE}) "
        "execute function note_act_change('id')"
    )


def _changes():
    op.create_table(
        "contact_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("contact_id", sa.BigInteger(), sa.ForeignKey("contact.id"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("before", sa.LargeBinary()),
        sa.Column("after", sa.LargeBinary()),
        sa.Column("source", sa.Text(), nullable=False),
    )
    op.create_index("ix_contact_change_contact", "contact_change", ["contact_id", "id"])


def downgrade():
    op.drop_constraint(op.f("uq_saved_filter_user_id_list_name"), "saved_filter", type_="unique")
    op.create_unique_constraint(op.f("uq_saved_filter_user_id_name"), "saved_filter", ["user_id", "name"])
    op.drop_column("saved_filter", "list")
    op.drop_table("contact_change")
    op.drop_table("contact_phone")
    op.execute("drop trigger contact_search_update on contact")
    op.execute(TRIGGER.replace("preferred_name, ", "").replace(
        "or old.preferred_name is distinct from new.preferred_name ", ""))  # fmt: skip
    only_names = "\n        select {row}.id, k from contact_search_keys({row}.first_name, {row}.last_name) k where {row}.erased_at is null\n"
    op.execute(UPDATED.replace(KEYS_OF_ROW.format(row="new"), only_names.format(row="new")))
    op.execute(INSERTED.split("    union")[0] + "    on conflict do nothing;\n    return null;\nend $$\n")
    op.drop_index("ix_lead_source_contact", table_name="lead")
    for name in ("chart_number", "state", "language", "created"):
        op.drop_index(f"ix_contact_{name}", table_name="contact")
    for name in ("edited_at", "guardian", "chart_number", "phone_kind", "preferred_name"):
        op.drop_column("contact", name)
