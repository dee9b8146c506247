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
        ("<b>Ana</b>", "name_character"),
        ("{{ 7*7 }}", "name_character"),
        ("<% x %>", "name_character"),
        ("%name%", "name_character"),
        ("Ana\r\nBcc: x", "name_character"),
        ("Ana\0", "text_control"),
        ("Ana;Bob", "name_character"),
        ("123", "name_letters"),
        ("-", "required"),
        ("Ana 💊", "name_character"),
        ("A\u0336\u0337\u0338\u0335x", "name_letters"),
    ],
)
def test_invalid_names(typed, code):
    with pytest.raises(InvalidValue) as refused:
        rules.clean_name(typed)
    assert refused.value.problem.code == code
    assert str(refused.value) == rules.REASONS[code].format(**refused.value.problem.shown())


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
        "Ana <ana>",
        "Ana <ana@example.com>, Bo <bo@example.com>",
        "ana@example.com,bob@example.com",
        "ana@[127.0.0.1]",
        '"ana ruiz"@example.com',
        "a" * 65 + "@example.com",
        "ána@example.com",
    ],
)
def test_invalid_addresses(typed):
    with pytest.raises(InvalidValue, match=r"name@example\.com"):
        rules.clean_email(typed)


@pytest.mark.parametrize(
    ("rule", "typed", "words"),
    [
        (rules.clean_email, "ana\0@example.com", "position 4 (U+0000)"),
        (rules.clean_email, "ana@" + "a" * 250 + ".com", "at most 254 characters; this has 258."),
        (rules.clean_phone, "213\x00555 0142", "position 4 (U+0000)"),
        (rules.clean_name, "Ana =", "hold “=”, which stands at position 5"),
        (rules.clean_name, "An\ue000", "position 3 (U+E000)"),
        (rules.clean_name, "x" * 61, "at most 60 characters for a name; this has 61."),
    ],
)
def test_refusals_name_the_character_or_the_limit(rule, typed, words):
    with pytest.raises(InvalidValue) as refused:
        rule(typed)
    assert words in str(refused.value)
    name, problem = rules.Problem.from_text(refused.value.problem.as_text("email"))
    assert (name, problem) == ("email", refused.value.problem)  # as it is stored


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


@pytest.mark.parametrize("typed", ["555-0142", "12", "call me", "9" * 41, "000-000-0000", "999-999-9999"])
def test_invalid_phone_numbers(typed):
    with pytest.raises(InvalidValue, match="area code"):
        rules.clean_phone(typed)


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize("rule", [rules.clean_email, rules.clean_phone])
def test_empty_values(rule, empty):
    with pytest.raises(InvalidValue) as refused:
        rule(empty)
    assert refused.value.problem.code == "required"


def test_text():
    assert rules.clean_text(" one\r\ntwo\rthree ", limit=20) == "one\ntwo\nthree"
    assert rules.clean_text("x" * 20, limit=20) == "x" * 20
    for typed, code in [("x" * 21, "text_long"), ("a\0b", "text_control"), ("a\ue000b", "text_control")]:
        with pytest.raises(InvalidValue) as refused:
            rules.clean_text(typed, limit=20)
        assert refused.value.problem.code == code
    assert rules.clean_text("one\ntwo", limit=20, lines=False) == "one two"


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
        (JUAN, ANA, "look_alike"),  # another name on one mailbox is a record of its own
        (replace(ANA, last_name=""), ANA, "same"),  # part of the name
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


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("213-555-0142 x12", "+12135550142;ext=12"), ("213-555-0142 ext. 3", "+12135550142;ext=3"),
        ("(213) 555-0142 (cell)", "+12135550142"), ("cell: 213 555 0142", "+12135550142"),
        ("2135550142.0", "+12135550142"),
        ("\u200b213\u00a0555\u00a00142", "+12135550142"),
        ("+52 55 1234 5678", "+525512345678"),
        ("213–555–0142", "+12135550142"), ("tel: 213 555 0142", "+12135550142"),
    ],
)  # fmt: skip
def test_clean_phone_as_people_write_it(text, stored):
    assert rules.clean_phone(text) == stored


@pytest.mark.parametrize(
    ("text", "state"),
    [("California", "CA"), ("calif.", "CA"), ("CA", "CA"), (" c.a. ", "CA"), ("New York", "NY"),
     ("nuevo méxico", "NM"), ("Puerto Rico", "PR"), ("Washington, DC", "DC"), ("washington", "WA")],
)  # fmt: skip
def test_clean_state_as_people_write_it(text, state):
    assert rules.clean_state(text) == state


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("es-MX", "es"),
        ("es_419", "es"),
        ("spa", "es"),
        ("Spanish", "es"),
        ("Español", "es"),
        ("English (US)", "en"),
        ("en-US", "en"),
        ("EN", "en"),
    ],
)
def test_clean_language_as_people_write_it(text, language):
    assert rules.clean_language(text) == language


@pytest.mark.parametrize("text", ["fr", "", "Klingon", "n/a"])
def test_clean_language_of_others(text):
    with pytest.raises(rules.InvalidValue):
        rules.clean_language(text)


@pytest.mark.parametrize(
    "text",
    [
        "1970-05-17",
        "5/17/1970",
        "05/17/70",
        "5-17-1970",
        "1970-05-17 00:00:00",
        "1970-05-17T00:00:00Z",
        "May 17, 1970",
        "17 May 1970",
        "5/17/1970 12:00 AM",
        "19700517",
    ],
)
def test_read_birth_date(text):
    assert rules.read_birth_date(text, today=date(2026, 3, 3)) == date(1970, 5, 17)


@pytest.mark.parametrize("text", ["5/17/26", "17/5/1970", "tomorrow", "2027-01-01", "1899-12-31", ""])
def test_read_birth_date_of_others(text):
    expected = date(1926, 5, 17) if text == "5/17/26" else None
    if expected:
        assert rules.read_birth_date(text, today=date(2026, 3, 3)) == expected
    else:
        with pytest.raises(rules.InvalidValue):
            rules.read_birth_date(text, today=date(2026, 3, 3))


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("O´Brien", "O’Brien"),
        ("O`Brien", "O’Brien"),
        ("O‘Brien", "O’Brien"),
        ("Ana\u00a0Maria", "Ana Maria"),
        ("\u200eAna", "Ana"),
        ("Ana\ufe0f", "Ana"),
    ],
)
def test_clean_name_as_people_paste_it(typed, stored):
    assert rules.clean_name(typed) == stored


@pytest.mark.parametrize("text", ["", "-", ".", "N/A", "n/a", "none", "\u3164", "\u200b", "\u034f"])
def test_clean_name_that_means_nothing(text):
    with pytest.raises(rules.InvalidValue) as refused:
        rules.clean_name(text)
    assert refused.value.problem.code == "required"


@pytest.mark.parametrize(
    "address",
    ["none@none.com", "na@na.com", "n.a@na.com", "na@gmail.com", "noemail@gmail.com", "no-reply@x.org", "test@test.com",
     "no_email@none.com", "none.none@none.com", "nobody@nowhere.com", "noemailprovided@x.com", "no@no.com",
     "sincorreo@x.com", "asdf@asdf.com"],
)  # fmt: skip
def test_clean_email_that_reaches_nobody(address):
    with pytest.raises(rules.InvalidValue) as refused:
        rules.clean_email(address)
    assert refused.value.problem.code == "email_filler"


@pytest.mark.parametrize(
    "address",
    ["nobody.else@clinic.org", "na@clinic.org", "no@clinic.org", "nobody@clinic.org", "noemi@x.org", "nomailand@x.org"],
)  # fmt: skip
def test_clean_email_of_real_people(address):
    assert rules.clean_email(address) == address


@pytest.mark.parametrize(
    "typed",
    ["ana@example.com\u00a0", "ana@example.com\t", "\u200bana@example.com", "ANA@example.com", "Ana <ana@example.com>",
     "<ana@example.com>;", "ana@example.com.", "mailto:ana@example.com", "MAILTO:ana@example.com?subject=Hi"],
)  # fmt: skip
def test_clean_email_as_people_paste_it(typed):
    assert rules.clean_email(typed) == "ana@example.com"


def test_clean_text_says_what_is_wrong():
    with pytest.raises(rules.InvalidValue, match=r"the character at position 3 \(U\+0007\)"):
        rules.clean_text("ab\x07", limit=10)
    with pytest.raises(rules.InvalidValue, match="at most 4 characters; this has 5"):
        rules.clean_text("abcde", limit=4)
