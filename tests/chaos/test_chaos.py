"""The short run that belongs to every change; `make chaos` is the long one."""

import pytest

from tests.chaos.oracle import watch
from tests.chaos.scenarios import SCENARIOS
from tests.support.stack import running_stack


@pytest.fixture(scope="module")
def site():
    with running_stack() as ours:
        watch(ours)
        yield ours


@pytest.mark.parametrize("name", ["copied", "provider_moods", "kills"])
def test_nothing_is_lost_and_nothing_is_sent_twice(site, name):
    done, verdict = SCENARIOS[name](site, seed=7, kills=50)
    assert verdict.sent > 0
    assert verdict.well, (done, verdict)
