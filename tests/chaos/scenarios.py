"""What can go wrong, by name. Each does it to a running installation, then says what the oracle found."""

from collections.abc import Callable

from tests.chaos import changes, copies, gates, kills, provider, report, servers, slow
from tests.chaos.results import Done

SCENARIOS: dict[str, Callable[..., Done]] = {
    scenario.__name__: scenario
    for scenario in (
        kills.kills, kills.sleepers, kills.many_hands,
        servers.redis_away, servers.database_cut, servers.database_crowded, servers.database_full, servers.collisions,
        provider.provider_moods, provider.half_refused, provider.key_revoked, provider.clocks_apart,
        report.events_storm, report.events_late,
        changes.rolling_restart, changes.migration, changes.old_jobs, changes.copied, changes.three_days_off,
        copies.snapshot_back, copies.second_instance,
        slow.slow_senders,
        gates.pause_in_flight, gates.night_release, gates.bad_zone, gates.yes_while_paused, gates.stop_while_throttled,
    )
}  # fmt: skip
