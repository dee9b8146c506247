"""Who did and saw what: append-only and hash-chained."""
