"""The short runs that belong to every change; `make chaos` is the long one."""

import pytest

from tests.chaos.scenarios import SCENARIOS
from tests.fleet import fleet

pytestmark = [pytest.mark.slow]


@pytest.mark.parametrize("name", ["kills", "provider_moods", "copied"])
def test_nothing_is_lost_and_nothing_is_sent_twice(name):
    with fleet() as ours:
        done, verdict = SCENARIOS[name](ours, seed=7, kills=50)
    assert verdict.sent > 0
    assert verdict.well, (done, verdict)
