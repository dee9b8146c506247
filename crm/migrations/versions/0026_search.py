"""search by any word of a name, folded, and by the last digits of a phone number

A trigger keeps the words of names, so that no way of writing a contact can forget them.
"""

import sqlalchemy as sa
from alembic import op

from crm.contacts.phone_parts import phone_parts
from crm.core import crypto

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

SLICE = 5_000  # contacts whose numbers are read at a time

# Marks that NFKD separates, and signs used as an apostrophe, disappear; other signs of a name part words.
FOLD = r"""
create function fold_name(name text) returns text language sql immutable strict parallel safe as $$
    select btrim(regexp_replace(
        regexp_replace(
            replace(replace(replace(translate(lower(normalize(name, NFKD)), 'øłđıŧ', 'oldit'), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'),
            '[\u0300-\u036f\u1ab0-\u1aff\u20d0-\u20ff''’ʼʻ‘´`′]', '', 'g'),
        '[\s\u00ad\u2010-\u2015.,·()/+&"-]+', ' ', 'g'))
$$
"""
# One key for each word: the word, then the others in their order. So a prefix of any word is a prefix of a key.
KEYS = """
create function contact_search_keys(first_name text, last_name text) returns setof text
language sql immutable parallel safe as $$
    select w.word || coalesce(' ' || (select string_agg(o.word, ' ' order by o.n)
        from unnest(words) with ordinality o(word, n) where o.n <> w.n), '')
    from (select (string_to_array(fold_name(concat_ws(' ', first_name, last_name)), ' '))[1:8] as words) name,
        unnest(words) with ordinality w(word, n)
    where w.word <> ''
$$
"""
WRITE = """
create function contact_search_insert() returns trigger language plpgsql as $$
begin
    insert into contact_search (contact_id, key)
    select r.id, k from rows r, contact_search_keys(r.first_name, r.last_name) k where r.erased_at is null
    on conflict do nothing;
    return null;
end $$;
create function contact_search_update() returns trigger language plpgsql as $$
begin
    delete from contact_search where contact_id = new.id;
    insert into contact_search (contact_id, key)
    select new.id, k from contact_search_keys(new.first_name, new.last_name) k where new.erased_at is null
    on conflict do nothing;
    return null;
end $$;
create trigger contact_search_insert after insert on contact referencing new table as rows
    for each statement execute function contact_search_insert();
create trigger contact_search_update after update of first_name, last_name, erased_at on contact
    for each row when (old.first_name is distinct from new.first_name or old.last_name is distinct from new.last_name
        or old.erased_at is distinct from new.erased_at)
    execute function contact_search_update();
"""
# A merged record is found as the record it went into.
SURVIVING = """
create function surviving_contact(given bigint) returns bigint language plpgsql stable parallel safe as $$
declare
    found bigint := given;
    next_id bigint;
begin
    for step in 1..20 loop
        select merged_into_id into next_id from contact where id = found;
        exit when next_id is null;
        found := next_id;
    end loop;
    return found;
end $$
"""


def upgrade():
    op.execute(FOLD)
    op.execute(KEYS)
    op.execute(SURVIVING)
    op.create_table(
        "contact_search",
        sa.Column("contact_id", sa.BigInteger(), sa.ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.Text(collation="C"), primary_key=True),
    )
    op.execute("""
        insert into contact_search (contact_id, key)
        select c.id, k from contact c, contact_search_keys(c.first_name, c.last_name) k where c.erased_at is null
        on conflict do nothing
    """)
    op.create_index("ix_contact_search_key", "contact_search", ["key", "contact_id"])
    op.execute(WRITE)
    op.add_column("contact", sa.Column("phone_last4_index", sa.LargeBinary()))
    op.add_column("contact", sa.Column("phone_last7_index", sa.LargeBinary()))
    _index_phones(op.get_bind())
    op.create_index("ix_contact_phone_last4_index", "contact", ["phone_last4_index", "id"],
                    postgresql_where=sa.text("phone_last4_index is not null"))  # fmt: skip
    op.create_index("ix_contact_phone_last7_index", "contact", ["phone_last7_index", "id"],
                    postgresql_where=sa.text("phone_last7_index is not null"))  # fmt: skip
    op.create_index("ix_referral_external_id", "referral", [sa.text("lower(external_id)")],
                    postgresql_where=sa.text("external_id is not null"))  # fmt: skip


def _index_phones(connection):
    last = 0
    while rows := connection.execute(
        sa.text("select id, phone from contact where id > :last and phone is not null order by id limit :limit"),
        {"last": last, "limit": SLICE},
    ).all():
        last = rows[-1].id
        for row in rows:
            ends = phone_parts(crypto.decrypt(row.phone).decode())
            connection.execute(
                sa.text("update contact set phone_last4_index = :four, phone_last7_index = :seven where id = :id"),
                {"id": row.id, "four": ends["phone_last4_index"], "seven": ends["phone_last7_index"]},
            )


def downgrade():
    op.drop_index("ix_referral_external_id", table_name="referral")
    op.drop_column("contact", "phone_last7_index")
    op.drop_column("contact", "phone_last4_index")
    op.execute("drop trigger contact_search_update on contact")
    op.execute("drop trigger contact_search_insert on contact")
    op.drop_table("contact_search")
    for name in ("contact_search_update()", "contact_search_insert()", "surviving_contact(bigint)",
                 "contact_search_keys(text, text)", "fold_name(text)"):  # fmt: skip
        op.execute(f"drop function {name}")
