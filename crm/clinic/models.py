"""Facts about the clinic that were set in the console, and its logo."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.db import Base


class ClinicSetting(Base):
    """One fact about the clinic; the environment wins over it."""

    __tablename__ = "clinic_setting"

    name: Mapped[str] = mapped_column(Text, primary_key=True)  # a field of crm.core.config.Clinic
    value: Mapped[str] = mapped_column(Text)
    set_at: Mapped[datetime]
    set_by: Mapped[str] = mapped_column(Text)


class ClinicLogo(Base):
    """The one row with the clinic's logo."""

    __tablename__ = "clinic_logo"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    media_type: Mapped[str] = mapped_column(Text)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[str] = mapped_column(Text)
