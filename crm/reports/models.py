"""Roll-ups of reports: what the job `reports.count` has counted. Nothing here is a fact of its own: all can be counted again."""

from datetime import date, datetime

from sqlalchemy import Boolean, Date, ForeignKey, Index, Integer, SmallInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base


class ReportLead(Base):
    """How far one lead came, and how fast, by the day it came in at the clinic. No personal data."""

    __tablename__ = "report_lead"
    __table_args__ = (
        Index("ix_report_lead_day", "day", "lead_id"),
        # What the pages count is in the index: a year is read without the table.
        Index(
            "ix_report_lead_kind",
            "kind",
            "day",
            postgresql_include=[
                "step", "source", "practice_id", "owner_id", "language", "closed", "reason", "stage_at", "hours_to_booked",
                "hours_to_attended",
            ],
        ),
    )  # fmt: skip

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date)
    hour: Mapped[int] = mapped_column(SmallInteger)
    weekday: Mapped[int] = mapped_column(SmallInteger)  # 1 is Monday
    kind: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    campaign: Mapped[str] = mapped_column(
        Text
    )  # utm_source and utm_campaign of the first touch; may be empty
    practice_id: Mapped[int | None]
    owner_id: Mapped[int | None]
    language: Mapped[str] = mapped_column(Text)
    state: Mapped[str | None] = mapped_column(Text)  # US state
    step: Mapped[int] = mapped_column(SmallInteger)  # the furthest of rules.STEPS
    stage: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    closed: Mapped[bool] = mapped_column(Boolean)
    stage_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(Integer)
    minutes_to_touch: Mapped[int | None] = mapped_column(Integer)
    late: Mapped[bool] = mapped_column(Boolean)  # the first deadline was missed
    hours_to_booked: Mapped[int | None] = mapped_column(Integer)
    hours_to_attended: Mapped[int | None] = mapped_column(Integer)


class ReportEmail(Base):
    """What became of the emails of one step, broadcast or kind, by the day they were queued. 0 stands for none."""

    __tablename__ = "report_email"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    sequence_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    campaign_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    item_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    language: Mapped[str] = mapped_column(Text, primary_key=True)
    sent: Mapped[int]
    delivered: Mapped[int]
    bounced: Mapped[int]
    refused: Mapped[int]  # blocked or dropped
    complained: Mapped[int]
    opted_out: Mapped[int]
    left_out: Mapped[int]  # skipped, failed or cancelled: never sent


class ReportConsent(Base):
    """How many people were asked to confirm, confirmed, or withdrew, by day."""

    __tablename__ = "report_consent"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    action: Mapped[str] = mapped_column(Text, primary_key=True)  # asked, confirmed, withdrawn
    wording: Mapped[str] = mapped_column(Text, primary_key=True)
    source: Mapped[str] = mapped_column(Text, primary_key=True)
    language: Mapped[str] = mapped_column(Text, primary_key=True)
    people: Mapped[int]


class ReportConsultation(Base):
    """How consultations ended, by the day they were to take place. Clinician 0 stands for none."""

    __tablename__ = "report_consultation"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)  # of the lead
    clinician_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(Text, primary_key=True)
    reminded: Mapped[bool] = mapped_column(Boolean, primary_key=True)  # an email reminded of it
    consultations: Mapped[int]


class CountedDay(Base):
    """When a day was counted last for a report."""

    __tablename__ = "report_day"

    report: Mapped[str] = mapped_column(Text, primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    counted_at: Mapped[datetime]
