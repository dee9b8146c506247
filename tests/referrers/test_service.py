"""NPIs, and clinicians found by them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from crm.core.db import db
from crm.core.errors import Invalid
from crm.referrers import service
from crm.referrers.models import Clinician, Practice
from crm.referrers.rules import is_npi_format
from crm.referrers.service import Sender

SENDER = Sender(
    clinician="Dr. Lee Park", npi="1234567893", practice="Hillside Family Medicine", phone="+12135550100"
)


@pytest.mark.parametrize("npi", ["1234567893", "1558598797", "1000000004", "2000000002"])
def test_npi_format(npi):
    assert is_npi_format(npi)


@pytest.mark.parametrize(
    "npi",
    [
        "1234567890",
        "1558598790",
        "3234567891",
        "123456789",
        "12345678933",
        "",
        "123456789a",
        "１２３４５６７８９３",
        " 1234567893",
    ],
)
def test_what_is_no_npi(npi):
    assert not is_npi_format(npi)


@given(st.sampled_from("12"), st.text("0123456789", min_size=8, max_size=8))
def test_exactly_one_check_digit_fits(first, rest):
    assert sum(is_npi_format(first + rest + digit) for digit in "0123456789") == 1


def test_found_by_npi_made_once(edge):
    made = service.find_or_create(sender=SENDER)
    again = service.find_or_create(
        sender=Sender(clinician="L. Park", npi=SENDER.npi, practice="Another name")
    )
    assert again.id == made.id
    assert (again.name, again.practice.name) == ("Dr. Lee Park", "Hillside Family Medicine")
    assert made.practice.approved_at is None
    assert db.session.scalar(select(func.count()).select_from(Practice)) == 1


def test_missing_phone_of_a_known_practice_is_kept(edge):
    made = service.find_or_create(sender=replace(SENDER, phone=None))
    service.find_or_create(sender=replace(SENDER, fax="+12135550101"))
    assert (made.practice.phone, made.practice.fax) == ("+12135550100", "+12135550101")
    service.find_or_create(sender=replace(SENDER, phone="+12135550999"))
    assert made.practice.phone == "+12135550100"


def test_a_new_clinician_joins_the_practice_of_the_key(edge):
    first = service.find_or_create(sender=SENDER)
    second = service.find_or_create(
        sender=Sender(clinician="Dr. May Cho", npi="1558598797", practice="Ignored"),
        practice_id=first.practice_id,
    )
    assert second.practice_id == first.practice_id


def test_refuses_what_is_no_npi(edge):
    with pytest.raises(Invalid) as refused:
        service.find_or_create(sender=Sender(clinician="X", npi="1234567890", practice="Y"))
    assert "Only the format is checked" in refused.value.fields["npi"][0]
    assert db.session.scalar(select(func.count()).select_from(Clinician)) == 0
