"""Tries at secrets are counted in PostgreSQL: by account, by network address, by half sign-in."""

import pytest

from crm.staff import rules
from crm.staff.sign_in import throttle

HERE, ELSEWHERE = "192.0.2.1", "203.0.113.9"


def charge(account="ana@clinic.example", address=HERE, kind="password", half=None):
    return throttle.charge(kind=kind, account=account, address=address, half=half)


def tries(number, **given):
    return [charge(**given) for _ in range(number)][-1]


@pytest.fixture(autouse=True)
def still(edge, clock):
    return clock


def test_the_wait_of_an_account_grows_and_ends(still):
    assert tries(rules.FREE_TRIES - 1) == throttle.Charged()
    assert charge().last_free
    assert charge().wait == 31
    still.shift(31)
    assert charge().wait == 0  # one more try, then twice the wait
    assert charge().wait == 61
    assert charge(address=ELSEWHERE).wait == 0
    assert charge(account="ben@clinic.example").wait == 0
    assert charge(kind="code").wait == 0


def test_many_addresses_together_are_slowed_too():
    outcomes = [charge(address=f"198.51.100.{number}") for number in range(rules.FREE_TRIES_ANYWHERE + 1)]
    assert [outcome.wait > 0 for outcome in outcomes] == [False] * rules.FREE_TRIES_ANYWHERE + [True]
    assert outcomes[-2].last_free


def test_one_address_gets_a_number_of_tries_each_minute(still):
    assert tries(rules.TRIES_PER_MINUTE, account=None).flood
    assert 0 < charge(account="carl@clinic.example").wait <= 61
    still.shift(61)
    assert charge(account=None).wait == 0


def test_a_right_secret_forgets_the_account_and_refunds_the_address():
    tries(rules.FREE_TRIES)
    throttle.succeeded(kind="password", account="ANA@clinic.example", address=HERE)
    assert charge().wait == 0
    for number in range(rules.TRIES_PER_MINUTE * 2):  # a whole clinic behind one address signs in
        charge(account=f"{number}@clinic.example")
        throttle.succeeded(kind="password", account=f"{number}@clinic.example", address=HERE)
    assert charge(account="late@clinic.example").wait == 0


def test_a_half_sign_in_has_five_tries_whatever_the_address():
    outcomes = [
        charge(kind="code", half="h1", address=f"198.51.100.{number}") for number in range(rules.HALF_TRIES)
    ]
    assert [outcome.half_over for outcome in outcomes] == [False] * 4 + [True]
    again = charge(kind="code", half="h1", address=ELSEWHERE)
    assert again.wait > 3600
    assert again.half_over
    assert charge(kind="code", half="h2", address=ELSEWHERE).wait == 0


def test_a_day_without_a_try_forgets(still):
    tries(rules.FREE_TRIES - 1)
    still.shift(24 * 3600 + 1)
    assert not charge().last_free
