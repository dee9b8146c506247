"""RQ entry points: opaque ids in, one verb, the outcome in the database. Each may run again at any time."""
