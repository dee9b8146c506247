"""One-off sends."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from crm.db import Base, HasId


class Campaign(HasId, Base):
    """One approved content item to an audience that is frozen at launch."""

    __tablename__ = "campaign"
    __table_args__ = (
        CheckConstraint(
            "state in ('draft','scheduled','freezing','sending','paused','finished','cancelled')",
            name="state",
        ),
    )

    name: Mapped[str] = mapped_column(Text)
    item_id: Mapped[int] = mapped_column(ForeignKey("content_item.id"))
    topic: Mapped[str] = mapped_column(Text)
    audience: Mapped[dict[str, Any]]  # {"tags": [...], "exclude_tags": [...]}
    state: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(Text)
    launch_at: Mapped[datetime | None]
    launched_at: Mapped[datetime | None]
    launched_by: Mapped[str | None] = mapped_column(Text)
    frozen_to: Mapped[int | None] = mapped_column(BigInteger)  # last contact id that was looked at
    frozen_max: Mapped[int | None] = mapped_column(BigInteger)  # last contact id there was at launch
    frozen_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    resend_of_id: Mapped[int | None] = mapped_column(ForeignKey("campaign.id"))
    version: Mapped[int] = mapped_column(BigInteger, server_default="1")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own form
