"""content: written authorizations for patients' words in emails"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

import crm.core.db

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "content_authorization",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("person", crm.core.db.Encrypted(), nullable=False),
        sa.Column("kept_at", crm.core.db.Encrypted(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("signed_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("stated", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", crm.core.db.UtcDateTime(timezone=True), nullable=False),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.Column("revoked_at", crm.core.db.UtcDateTime(timezone=True), nullable=True),
        sa.CheckConstraint("ends_on > signed_on", name=op.f("ck_content_authorization_ends_on")),
        sa.CheckConstraint(
            "(revoked_at is null) = (revoked_by is null)", name=op.f("ck_content_authorization_revoked")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_content_authorization")),
    )
    # what was signed stays as it was signed; taking it back is final
    op.execute("""
        create trigger content_authorization_fixed
        before update of person, kept_at, language, words, signed_on, ends_on, stated, recorded_by, recorded_at
        on content_authorization for each row execute function refuse_change()
    """)
    op.execute("""
        create trigger content_authorization_revoked before update on content_authorization
        for each row when (old.revoked_at is not null) execute function refuse_change()
    """)
    op.execute("""
        create trigger content_authorization_no_delete before delete on content_authorization
        for each row execute function refuse_change()
    """)


def downgrade():
    op.drop_table("content_authorization")
