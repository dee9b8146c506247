"""Rotation of keys may encrypt the fixed columns of testimonials anew; what they say stays as it was signed."""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

FIXED = "language, words, signed_on, ends_on, stated, recorded_by, recorded_at"


def upgrade():
    op.execute("""
        create trigger content_authorization_sealed before update of person, kept_at on content_authorization
        for each row when (current_setting('crm.rekey', true) is distinct from 'on') execute function refuse_change()
    """)
    _fix(FIXED)


def downgrade():
    op.execute("drop trigger content_authorization_sealed on content_authorization")
    _fix(f"person, kept_at, {FIXED}")


def _fix(columns):
    op.execute("drop trigger content_authorization_fixed on content_authorization")
    op.execute(
        f"create trigger content_authorization_fixed before update of {columns} on content_authorization "
        "for each row execute function refuse_change()"
    )
    op.execute("drop trigger content_authorization_revoked on content_authorization")
    op.execute("""
        create trigger content_authorization_revoked before update on content_authorization
        for each row when (old.revoked_at is not null and current_setting('crm.rekey', true) is distinct from 'on')
        execute function refuse_change()
    """)
