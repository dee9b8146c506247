"""sign-in: tries at secrets, sessions, passkeys of staff, identities of single sign-on, hashed recovery codes

Recovery codes become hashes in place. While the previous release runs it accepts no recovery code; nobody is locked out,
since an administrator can remove a lost phone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def _id():
    return sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True)


def _user():
    return sa.Column("user_id", sa.BigInteger(), sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False)


def upgrade():
    op.create_table(
        "secret_try",
        sa.Column("key", sa.LargeBinary(), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("forget_at", _MOMENT, nullable=False),
        sa.Column("wait_until", _MOMENT),
    )
    op.create_index("ix_secret_try_forget_at", "secret_try", ["forget_at"])
    op.create_table(
        "staff_session",
        _id(),
        _user(),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("browser", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("begun_by", sa.Text()),
        sa.Column("begun_at", _MOMENT, nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT),
        sa.UniqueConstraint("key_hash", name="uq_staff_session_key_hash"),
    )
    op.create_index("ix_staff_session_user_id", "staff_session", ["user_id"])
    op.create_table(
        "staff_passkey",
        _id(),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("last_used_at", _MOMENT),
        _user(),
        sa.UniqueConstraint("credential_id", name="uq_staff_passkey_credential_id"),
        sa.CheckConstraint("octet_length(credential_id) between 1 and 1023", name="credential_id"),
        sa.CheckConstraint("sign_count between 0 and 4294967295", name="sign_count"),
    )
    op.create_index("ix_staff_passkey_user_id", "staff_passkey", ["user_id"])
    op.create_table(
        "staff_identity",
        _id(),
        _user(),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("linked_at", _MOMENT, nullable=False),
        sa.UniqueConstraint("issuer", "subject", name="uq_staff_identity_issuer_subject"),
        sa.UniqueConstraint("user_id", "issuer", name="uq_staff_identity_user_id_issuer"),
    )
    op.add_column("sign_in_link", sa.Column("made_by", sa.Text()))
    op.add_column("user", sa.Column("tf_counter", sa.BigInteger()))
    op.execute("""
        update "user" set mf_recovery_codes = array(
            select encode(sha256(convert_to(id || ':' || replace(lower(code), '-', ''), 'UTF8')), 'hex')
            from unnest(mf_recovery_codes) code)
        where mf_recovery_codes is not null
    """)


def downgrade():
    op.execute('update "user" set mf_recovery_codes = null')  # hashes cannot be turned back
    op.drop_column("user", "tf_counter")
    op.drop_column("sign_in_link", "made_by")
    for table in ("staff_identity", "staff_passkey", "staff_session", "secret_try"):
        op.drop_table(table)
