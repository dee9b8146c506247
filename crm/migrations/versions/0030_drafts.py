"""a discarded broadcast to the rest does not block another one; tags of drafts as tags are stored"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade():
    op.drop_index("uq_campaign_resend_of_id", table_name="campaign")
    op.create_index(
        "uq_campaign_resend_of_id",
        "campaign",
        ["resend_of_id"],
        unique=True,
        postgresql_where=sa.text("state <> 'cancelled'"),
    )
    # "Do Not Mail" excluded nobody: tags are stored in lower case
    op.execute(r"""
        update campaign set audience = (
            select jsonb_object_agg(key, (
                select coalesce(jsonb_agg(distinct lower(regexp_replace(btrim(tag), '\s+', ' ', 'g'))), '[]')
                from jsonb_array_elements_text(value) tag))
            from jsonb_each(audience))
        where state in ('draft', 'scheduled') and audience <> '{}'
    """)


def downgrade():
    op.drop_index("uq_campaign_resend_of_id", table_name="campaign")
    op.create_index("uq_campaign_resend_of_id", "campaign", ["resend_of_id"], unique=True)
