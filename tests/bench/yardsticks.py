"""The yardsticks, registered: each is measured once per run, so every ratio is of one run on one machine."""

from tests.bench import limit, naive, views
from tests.bench.rows import Values, figure
from tests.bench.servers import Bench


@figure("limit_1", runs=1)
def limit_one(bench: Bench) -> Values:
    """L with one worker."""
    return limit.measure(bench, recipients=100_000, workers=1)


@figure("limit_2")
def limit_two(bench: Bench) -> Values:
    """L with two workers: 100,000 recipients even in a quick run, as fewer do not show the limit."""
    return limit.measure(bench, recipients=100_000, workers=2)


@figure("limit_tls", runs=1)
def limit_tls(bench: Bench) -> Values:
    """L over TLS."""
    return limit.measure(bench, recipients=100_000, workers=2, tls=True)


@figure("limit_50ms", runs=1)
def limit_latency(bench: Bench) -> Values:
    """L when the provider answers after 50 ms; one call at a time per worker, so this is nobody's limit."""
    return limit.measure(bench, recipients=bench.size(100_000), workers=2, latency=0.05)


@figure("naive")
def naive_best(bench: Bench) -> Values:
    """N with two workers."""
    return naive.measure(bench, recipients=bench.size(2_000))


@figure("empty_view")
def empty_view(bench: Bench) -> Values:
    """F."""
    return views.measure_empty(bench, seconds=1 if bench.quick else 4)


@figure("store")
def store(bench: Bench) -> Values:
    """E: verify and store."""
    return views.measure_store(bench, posts=100 if bench.quick else 400)


@figure("apply")
def apply(bench: Bench) -> Values:
    """E: one set-based statement at a time."""
    return views.measure_apply(bench, posts=bench.size(200))


@figure("apply_2", runs=1)
def apply_two(bench: Bench) -> Values:
    """E: the same on two connections."""
    return views.measure_apply(bench, posts=bench.size(200), connections=2)


@figure("queue")
def queue(bench: Bench) -> Values:
    """Q."""
    return naive.measure_queue(bench, jobs=100 if bench.quick else 300)
