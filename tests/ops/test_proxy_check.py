"""Diagnostics of the proxies: what is believed of a made-up address."""

import pytest

from crm.ops.proxy_check import MADE_UP, judge


@pytest.mark.parametrize(
    ("address", "forwarded", "trusted", "words"),
    [
        ("203.0.113.7", ["203.0.113.7"], 1, None),  # a proxy that overwrites
        ("203.0.113.7", [MADE_UP, "203.0.113.7"], 1, None),  # one that adds
        ("127.0.0.1", [MADE_UP], 0, None),  # none
        (MADE_UP, [MADE_UP, "203.0.113.7"], 2, "can choose"),
        ("10.0.0.2", [MADE_UP, "203.0.113.7"], 0, "is 0, and a proxy"),
        ("10.0.0.2", ["203.0.113.7"], 2, "names 1"),
    ],
)
def test_judgment(address, forwarded, trusted, words):
    found = judge(address, forwarded, trusted=trusted)
    assert found is None if words is None else words in found
