"""Reading the form by which staff edit a person."""

from datetime import date

import pytest

from crm.contacts import edit_form

TODAY = date(2026, 3, 3)


def read(numbers=None, **typed):
    return edit_form.read_edit(typed, today=TODAY, clinic_zone="America/Chicago", numbers=numbers)


@pytest.mark.parametrize(
    ("name", "typed", "kept"),
    [
        ("first_name", "  Ana ", "Ana"),
        ("last_name", "", ""),
        ("preferred_name", "Anita", "Anita"),
        ("email", "Ana@Example.org", "ana@example.org"),
        ("email", "N/A", None),
        ("phone", "213 555 0142 x12", "+12135550142;ext=12"),
        ("phone_kind", "mobile", "mobile"),
        ("language", "Spanish", "es"),
        ("state", "California", "CA"),
        ("birth_date", "5/17/1970", date(1970, 5, 17)),
        ("chart_number", " MRN-7 ", "MRN-7"),
        ("guardian_phone", "", None),
        ("time_zone", "America/Denver", "America/Denver"),
    ],
)
def test_values_are_cleaned(name, typed, kept):
    assert (read(**{name: typed}).values, read(**{name: typed}).wrong) == ({name: kept}, {})


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"email": "ana@"}, "email"),
        ({"phone": "0142"}, "phone"),
        ({"phone_kind": "pager"}, "phone_kind"),
        ({"language": ""}, "language"),
        ({"state": "Atlantis"}, "state"),
        ({"birth_date": "5/17/2030"}, "birth_date"),
        ({"first_name": "", "last_name": "-"}, "first_name"),
    ],
)
def test_what_is_wrong_stands_at_its_field(typed, field):
    assert list(read(**typed).wrong) == [field]


def test_no_zone_is_that_of_the_state():
    assert read(time_zone="", state="CA").values["time_zone"] == "America/Los_Angeles"
    assert read(time_zone="", state="").values["time_zone"] == "America/Chicago"


def test_further_numbers():
    found = read([("home", "213 555 0143"), ("mobile", ""), ("pager", "213 555 0144")], phone="2135550142")
    assert found.phones == [("home", "+12135550143"), ("other", "+12135550144")]
    assert list(read([("home", "213"), ("work", "213 555 0142 x3")], phone="2135550142").wrong) == [
        "phone_0",
        "phone_1",
    ]
    assert read().phones is None


def test_differences_as_an_intake_writes_them():
    said = "phone: +12135550142;ext=12; birth date: 1970-05-17; last name: Ruiz: Soto"
    assert edit_form.read_differences(said) == {
        "phone": "+12135550142;ext=12",
        "birth_date": "1970-05-17",
        "last_name": "Ruiz: Soto",
    }
    assert edit_form.read_differences("") == {}
