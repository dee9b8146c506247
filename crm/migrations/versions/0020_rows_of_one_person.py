"""whatever points to a person is found by that person: for their page, and for taking an import back"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade():
    op.create_index("ix_enrolment_contact", "enrolment", ["contact_id", "id"])
    op.create_index("ix_portal_person_contact_id", "portal_person", ["contact_id"])
    op.create_index("ix_contact_merge_gone", "contact_merge", ["gone_id"])


def downgrade():
    op.drop_index("ix_contact_merge_gone", "contact_merge")
    op.drop_index("ix_portal_person_contact_id", "portal_person")
    op.drop_index("ix_enrolment_contact", "enrolment")
