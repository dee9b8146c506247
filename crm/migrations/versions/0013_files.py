"""files of people in and out"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def _id():
    return sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True)


def _at(name, nullable=False):
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _user(**options):
    return sa.Column("user_id", sa.BigInteger(), sa.ForeignKey("user.id"), **{"nullable": False, **options})


def _text(name, nullable=False):
    return sa.Column(name, sa.Text(), nullable=nullable)


def _bytes(name, nullable=False):
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def _number(name, **options):
    return sa.Column(name, sa.BigInteger(), **{"nullable": False, **options})


def _part(name, of):
    column = f"{of.removeprefix('import_')}_id"
    return [
        sa.Column(column, sa.BigInteger(), sa.ForeignKey(f"{of}.id"), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True),
    ]


def upgrade():
    op.create_table(
        "import_run",
        _id(), _user(), _text("kind"), _bytes("name"), _text("state"), _text("encoding"), _text("delimiter"),
        _bytes("header"), sa.Column("mapping", postgresql.JSONB(), nullable=False), _number("size"), _number("rows"),
        *(_number(name, server_default="0") for name in ("done", "new", "known", "duplicates", "errors", "kept")),
        _text("failure", nullable=True), _at("created_at"), _at("beat_at"), _at("finished_at", nullable=True),
        sa.CheckConstraint(
            "state in ('uploaded','checking','checked','importing','done','undoing','undone','failed')", name="state"
        ),
        sa.CheckConstraint("kind in ('contacts','leads')", name="kind"),
        sa.Index("ix_import_run_state", "state", "beat_at"),
    )  # fmt: skip
    op.create_table("import_part", *_part("import_part", "import_run"), _bytes("content"))
    op.create_table(
        "import_batch",
        *_part("import_batch", "import_run"),
        sa.Column("contact_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("lead_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        _bytes("problems", nullable=True),
    )
    op.create_table(
        "import_mapping", _user(primary_key=True), sa.Column("mapping", postgresql.JSONB(), nullable=False)
    )
    op.create_table(
        "export",
        _id(), _user(), _text("kind"), _text("form"), sa.Column("clinical", sa.Boolean(), nullable=False),
        _text("purpose"), _text("state"), _number("rows", server_default="0"), _at("created_at"), _at("expires_at"),
        sa.CheckConstraint("state in ('asked','ready','failed')", name="state"),
    )  # fmt: skip
    op.create_table("export_part", *_part("export_part", "export"), _bytes("content"))


def downgrade():
    for table in ("export_part", "export", "import_mapping", "import_batch", "import_part", "import_run"):
        op.drop_table(table)
