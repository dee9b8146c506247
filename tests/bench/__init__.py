"""How fast it is, beside yardsticks that are measured in the same run on the same machine.

`python -m tests.bench` (or `make bench`) starts PostgreSQL, Redis and a sink for mail, measures every row of
`rows.py` several times and prints one table.
"""
