"""Facts about the clinic as people type them."""

import pytest

from crm.clinic import rules
from crm.core.errors import Invalid


@pytest.mark.parametrize(
    ("name", "typed", "clean"),
    [
        ("name", "  Bay   Clinic ", "Bay Clinic"),
        ("phone", "+1 (555) 010-0199", "+1 (555) 010-0199"),
        ("phone", "call us", None),
        ("email", "Hello@Clinic.Example", "hello@clinic.example"),
        ("from_email", "news@", None),
        ("staff_alert_email", "a@clinic.example,b@clinic.example", "a@clinic.example, b@clinic.example"),
        ("staff_alert_email", "a@clinic.example, b", None),
        ("time_zone", "US/Pacific", "America/Los_Angeles"),
        ("time_zone", "Mars/Base", None),
        ("state", "CA", "CA"),
        ("state", "XX", None),
        ("hours", "Mon-Fri 08:00-17:00", "Mon-Fri 08:00-17:00"),
        ("hours", "always", None),
        ("closed", "holidays, 2026-12-24", "holidays, 2026-12-24"),
        ("closed", "Christmas", None),
        ("accent", "#0B6763", "#0b6763"),
        ("accent", "#ffcc00", None),
        ("accent", "red", None),
        ("address", "x" * 201, None),
    ],
)
def test_a_fact(name, typed, clean):
    if clean is None:
        with pytest.raises(Invalid) as refused:
            rules.clean_facts({name: typed})
        assert set(refused.value.fields) == {name}
    else:
        assert rules.clean_facts({name: typed}) == {name: clean}


def test_empty_and_unknown_fields_are_left_out():
    assert rules.clean_facts({"name": " ", "role": "admin"}) == {}


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(b"\x89PNG\r\n\x1a\n...", "image/png"), (b"\xff\xd8\xff\xe0", "image/jpeg"), (b"<svg onload=x>", None), (b"", None),
     (b"\xff\xd8\xff" + b"0" * rules.MOST_LOGO, None)],
)  # fmt: skip
def test_logos_by_their_first_bytes(content, media_type):
    if media_type is None:
        with pytest.raises(Invalid):
            rules.logo_type(content)
    else:
        assert rules.logo_type(content) == media_type
