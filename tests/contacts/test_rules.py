"""Validation of contact fields and matching of people."""

from dataclasses import replace
from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.contacts import rules
from crm.contacts.rules import InvalidValue, Person


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Ana", "Ana"),
        ("  Ana   María ", "Ana María"),
        ("José", "José"),
        ("Jose\u0301", "José"),  # composed
        ("O'Brien", "O'Brien"),
        ("D’Angelo", "D’Angelo"),
        ("Anne-Marie", "Anne-Marie"),
        ("J. R.", "J. R."),
        ("St.John", "St.John"),
        ("Smith, Jr.", "Smith Jr."),
        ("Nguyễn", "Nguyễn"),
        ("李", "李"),
        ("محمد", "محمد"),
        ("می‌رود", "می‌رود"),  # with a zero-width non-joiner, as Persian spells
        ("Henry 3rd", "Henry 3rd"),
        ("X", "X"),
        ("Ñ" * 60, "Ñ" * 60),
        ("Wolfeschlegelsteinhausenbergerdorff", "Wolfeschlegelsteinhausenbergerdorff"),
    ],
)
def test_valid_names(typed, kept):
    assert rules.clean_name(typed) == kept


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("", "required"),
        ("   ", "required"),
        ("A" * 61, "name_long"),
        ("http://spam.example", "name_link"),
        ("www.spam", "name_link"),
        ("Cheap pills at spam.com now", "name_link"),
        ("ana@example.org", "name_link"),
        ("bit.ly/x", "name_link"),
        ("<b>Ana</b>", "name_letters"),
        ("{{ 7*7 }}", "name_letters"),
        ("<% x %>", "name_letters"),
        ("%name%", "name_letters"),
        ("Ana\r\nBcc: x", "name_letters"),
        ("Ana\0", "name_letters"),
        ("Ana\u202eanA", "name_letters"),  # right-to-left override
        ("Ana\u2066x", "name_letters"),
        ("Ana\u200b", "name_letters"),  # zero-width space
        ("Ana;Bob", "name_letters"),
        ("123", "name_letters"),
        ("-", "name_letters"),
        ("Ana 💊", "name_letters"),
        ("A\u0336\u0337\u0338\u0335x", "name_letters"),
    ],
)
def test_invalid_names(typed, code):
    with pytest.raises(InvalidValue) as refused:
        rules.clean_name(typed)
    assert refused.value.code == code
    assert str(refused.value) == rules.REASONS[code]


@given(st.text(max_size=80))
def test_clean_name_is_idempotent_and_header_safe(text):
    try:
        name = rules.clean_name(text)
    except InvalidValue:
        return
    assert rules.clean_name(name) == name
    assert 0 < len(name) <= 60
    assert not set(name) & set('\r\n\0<>@{};,"')


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Ana@Example.COM", "ana@example.com"),
        (" ana+news@example.org ", "ana+news@example.org"),
        ("a.b@bücher.example", "a.b@xn--bcher-kva.example"),
        ("bounce@patients.test", "bounce@patients.test"),
    ],
)
def test_valid_addresses(typed, kept):
    assert rules.clean_email(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "ana",
        "ana@",
        "@example.com",
        "ana@example",
        "ana@exa mple.com",
        "ana@example.com\r\nBcc: x@example.com",
        "ana@example.com\n",
        "ana\0@example.com",
        "ana\u202e@example.com",
        "Ana <ana@example.com>",
        "ana@example.com,bob@example.com",
        "ana@[127.0.0.1]",
        '"ana ruiz"@example.com',
        "a" * 65 + "@example.com",
        "ana@" + "a" * 250 + ".com",
        "ána@example.com",
    ],
)
def test_invalid_addresses(typed):
    with pytest.raises(InvalidValue, match=r"name@example\.com"):
        rules.clean_email(typed)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("(213) 555-0142", "+12135550142"),
        ("213.555.0142", "+12135550142"),
        ("1 213 555 0142", "+12135550142"),
        ("+1-213-555-0142", "+12135550142"),
        ("+52 55 1234 5678", "+525512345678"),
        ("２１３ ５５５ ０１４２", "+12135550142"),  # full-width digits
    ],
)
def test_valid_phone_numbers(typed, kept):
    assert rules.clean_phone(typed) == kept


@pytest.mark.parametrize(
    "typed", ["555-0142", "12", "call me", "213 555 0142 ext 5", "213\r\n5550142", "9" * 41]
)
def test_invalid_phone_numbers(typed):
    with pytest.raises(InvalidValue, match="area code"):
        rules.clean_phone(typed)


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize("rule", [rules.clean_email, rules.clean_phone])
def test_empty_values(rule, empty):
    with pytest.raises(InvalidValue) as refused:
        rule(empty)
    assert refused.value.code == "required"


def test_text():
    assert rules.clean_text(" one\r\ntwo\rthree ", limit=20) == "one\ntwo\nthree"
    assert rules.clean_text("x" * 20, limit=20) == "x" * 20
    for typed, code in [("x" * 21, "text_long"), ("a\0b", "text_control"), ("a\u202eb", "text_control")]:
        with pytest.raises(InvalidValue) as refused:
            rules.clean_text(typed, limit=20)
        assert refused.value.code == code
    with pytest.raises(InvalidValue):
        rules.clean_text("one\ntwo", limit=20, lines=False)


def test_states_and_their_zones():
    assert len(rules.STATE_ZONES) == 50 + 1 + 5  # states, the District, territories
    assert all(ZoneInfo(zone) for zone in rules.STATE_ZONES.values())
    assert rules.clean_state(" ca ") == "CA"
    with pytest.raises(InvalidValue):
        rules.clean_state("XX")


def test_zone_for():
    assert rules.zone_for(given="America/Denver", state="CA", clinic="UTC") == "America/Denver"
    assert rules.zone_for(given=None, state="HI", clinic="UTC") == "Pacific/Honolulu"
    assert rules.zone_for(given=None, state=None, clinic="America/Chicago") == "America/Chicago"
    with pytest.raises(InvalidValue):
        rules.clean_zone("Mars/Olympus")


def test_birth_dates():
    today = date(2026, 3, 3)
    assert rules.clean_birth_date(date(1970, 5, 17), today=today) == date(1970, 5, 17)
    for wrong in (date(1899, 12, 31), date(2026, 3, 4)):
        with pytest.raises(InvalidValue):
            rules.clean_birth_date(wrong, today=today)


BORN, LATER = date(1980, 1, 2), date(2012, 6, 7)
ANA = Person(first_name="Ana", last_name="Ruiz", email="a@example.com", phone="+12135550142", time_zone="UTC")
JUAN = replace(ANA, first_name="Juan")
MARIED = replace(ANA, last_name="Soto")


def born(person, birth):
    return replace(person, birth_date=birth)


@pytest.mark.parametrize(
    ("given", "known", "verdict"),
    [
        (ANA, ANA, "same"),
        (replace(ANA, first_name="ANA", last_name="Ruíz"), ANA, "same"),
        (born(ANA, BORN), ANA, "same"),
        (born(ANA, BORN), born(ANA, BORN), "same"),
        (JUAN, ANA, "same"),  # one address, no birth dates: staff see the other name
        (born(MARIED, BORN), born(ANA, BORN), "same"),
        (born(JUAN, LATER), ANA, "other"),  # a child with a parent's address
        (ANA, born(JUAN, LATER), "other"),
        (born(JUAN, LATER), born(ANA, BORN), "other"),
        (born(ANA, LATER), born(ANA, BORN), "look_alike"),  # mother and daughter of one name, or a slip
        (born(JUAN, BORN), born(ANA, BORN), "look_alike"),  # twins, or a nickname
    ],
)
def test_same_address(given, known, verdict):
    assert rules.match_person(given, known, by_email=True) == verdict


OTHER_MAIL = replace(ANA, email="b@example.com")


@pytest.mark.parametrize(
    ("given", "known", "verdict"),
    [
        (ANA, replace(ANA, email=None), "same"),
        (replace(ANA, email=None), ANA, "same"),
        (JUAN, replace(ANA, email=None), "other"),  # a shared telephone
        (OTHER_MAIL, ANA, "look_alike"),
        (born(OTHER_MAIL, BORN), born(ANA, BORN), "same"),
        (born(JUAN, BORN), born(replace(ANA, email=None), BORN), "other"),
        (replace(JUAN, email="b@example.com"), ANA, "other"),
    ],
)
def test_same_phone_or_birth_date(given, known, verdict):
    assert rules.match_person(given, known, by_email=False) == verdict
