"""search by the first digits of a phone number"""

import sqlalchemy as sa
from alembic import op

from crm.contacts.phone_parts import phone_parts
from crm.core import crypto

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

SLICE = 5_000  # numbers that are read at a time
TABLES = {"contact": ("phone", "id"), "contact_phone": ("number", "contact_id")}
NAME = "phone_first6_index"


def upgrade():
    for table, (number, then) in TABLES.items():
        op.add_column(table, sa.Column(NAME, sa.LargeBinary()))
        _fill(op.get_bind(), table, number)
        where = sa.text(f"{NAME} is not null") if table == "contact" else None
        op.create_index(f"ix_{table}_{NAME}", table, [NAME, then], postgresql_where=where)


def _fill(connection, table, number):
    last = 0
    read = sa.text(f"select id, {number} as number from {table} where id > :last and {number} is not null"
                   " order by id limit :limit")  # fmt: skip
    write = sa.text(f"update {table} set {NAME} = :part where id = :id")
    while rows := connection.execute(read, {"last": last, "limit": SLICE}).all():
        last = rows[-1].id
        parts = {row.id: phone_parts(crypto.decrypt(row.number).decode())[NAME] for row in rows}
        connection.execute(write, [{"id": row_id, "part": part} for row_id, part in parts.items()])


def downgrade():
    for table in TABLES:
        op.drop_column(table, NAME)
