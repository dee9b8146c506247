"""What can go wrong, by name. Each does it to a running installation, then says what the oracle found."""

from collections.abc import Callable

from tests.chaos import changing, dying, provider, servers, telling
from tests.chaos.results import Done

SCENARIOS: dict[str, Callable[..., Done]] = {
    scenario.__name__: scenario
    for scenario in (
        dying.kills, dying.sleepers, dying.many_hands,
        servers.redis_away, servers.database_cut, servers.database_crowded, servers.database_full, servers.collisions,
        provider.provider_moods, provider.half_refused, provider.key_revoked, provider.clocks_apart,
        telling.events_storm, telling.events_late,
        changing.rolling_restart, changing.migration, changing.old_jobs, changing.copied, changing.three_days_off,
    )
}  # fmt: skip
