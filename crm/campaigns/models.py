"""Broadcasts: one-off sends to a frozen audience."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from crm.campaigns.rules import CampaignState
from crm.core.db import Base, EnumText, HasId


class Campaign(HasId, Base):
    """One approved content item to an audience that is frozen at launch.

    The audience is stored in slices while sending runs: `frozen_to` is the last contact processed, `tail` the people
    before it whose batches are not full yet. Pausing and cancelling do not stop this, so that the audience is always
    known.
    """

    __tablename__ = "campaign"
    __table_args__ = (
        CheckConstraint(
            "state in ('draft','scheduled','freezing','sending','paused','finished','cancelled')",
            name="state",
        ),
        Index(
            "uq_campaign_resend_of_id",
            "resend_of_id",
            unique=True,
            postgresql_where=text("state <> 'cancelled'"),
        ),
        Index(
            "ix_campaign_open",
            "id",
            postgresql_where=text(
                "state in ('scheduled','freezing','sending') or (launched_at is not null and frozen_at is null)"
            ),
        ),
    )

    name: Mapped[str] = mapped_column(Text)
    item_id: Mapped[int] = mapped_column(ForeignKey("content_item.id"))
    topic: Mapped[str] = mapped_column(Text)
    audience: Mapped[dict[str, Any]]  # {"tags": [...], "exclude_tags": [...]}
    state: Mapped[CampaignState] = mapped_column(EnumText(CampaignState))
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(Text)
    launch_at: Mapped[datetime | None]
    launched_at: Mapped[datetime | None]
    launched_by: Mapped[str | None] = mapped_column(Text)
    late_after_hours: Mapped[int] = mapped_column(server_default="24")  # emails not sent by then are not sent
    frozen_to: Mapped[int | None] = mapped_column(BigInteger)  # last contact id processed
    frozen_max: Mapped[int | None] = mapped_column(BigInteger)  # highest contact id at launch
    frozen_at: Mapped[datetime | None]
    people: Mapped[int] = mapped_column(server_default="0")  # processed so far
    slices: Mapped[int] = mapped_column(server_default="0")
    tail: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}", deferred=True)
    finished_at: Mapped[datetime | None]
    repeat_allowed: Mapped[bool] = mapped_column(server_default="false")  # to people who had this version
    resend_of_id: Mapped[int | None] = mapped_column(ForeignKey("campaign.id"))
    version: Mapped[int] = mapped_column(BigInteger, server_default="1")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own form
