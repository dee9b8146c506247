"""time zones that Python and PostgreSQL both know

A zone that only one of them knows made every broadcast fail. Older names become the name they stand for; a name that is
no zone becomes the zone of the person's state, or the clinic's.
"""

import sqlalchemy as sa
from alembic import op
from flask import current_app

from crm.contacts.rules import STATE_ZONES
from crm.core.time_zones import ALIASES, NAMES

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade():
    table = op.create_table("time_zone", sa.Column("name", sa.Text(), primary_key=True))
    op.bulk_insert(table, [{"name": name} for name in sorted(NAMES)])
    given = {
        "olds": list(ALIASES),
        "news": list(ALIASES.values()),
        "states": list(STATE_ZONES),
        "zones": list(STATE_ZONES.values()),
        "clinic": ALIASES.get(current_app.settings.clinic.time_zone, current_app.settings.clinic.time_zone),
    }
    connection = op.get_bind()
    connection.execute(
        sa.text("""
            with alias as (select * from unnest(cast(:olds as text[]), cast(:news as text[])) a(old, name)),
            place as (select * from unnest(cast(:states as text[]), cast(:zones as text[])) s(state, name))
            update contact c set time_zone = coalesce(
                (select name from alias where old = c.time_zone), (select name from place where place.state = c.state), :clinic)
            where c.time_zone not in (select name from time_zone)
        """),
        given,
    )
    connection.execute(
        sa.text("""
            with alias as (select * from unnest(cast(:olds as text[]), cast(:news as text[])) a(old, name))
            update batch b set time_zones = array(
                select coalesce((select name from time_zone where name = z), (select name from alias where old = z), :clinic)
                from unnest(b.time_zones) z)
            where b.state in ('ready', 'held')
                and exists (select 1 from unnest(b.time_zones) z where z not in (select name from time_zone))
        """),
        given,
    )
    op.create_foreign_key("fk_contact_time_zone_time_zone", "contact", "time_zone", ["time_zone"], ["name"])


def downgrade():
    op.drop_constraint("fk_contact_time_zone_time_zone", "contact", type_="foreignkey")
    op.drop_table("time_zone")
