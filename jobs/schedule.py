"""The table of periodic jobs: name -> seconds between two runs. Any number of schedulers may run; one leads."""

PERIODIC: dict[str, int] = {
    "messages.sweep": 10,
    "sequences.plan": 10,
    "campaigns.look_after": 10,
    "tracking.sweep": 30,
    "tracking.reconcile": 3600,
    "messages.check_rates": 60,
    "messages.tell_staff": 60,
    "sequences.release": 600,
    "leads.escalate": 60,
    "leads.look_after": 60,
    "content.look_after": 3600,
    "referrers.digest": 1800,
    "interop.look_after": 60,
    "watch.look": 300,
    "privacy.purge": 3600,
    "audit.seal": 60,
}
