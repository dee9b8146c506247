"""The audit log: who did and viewed what; append-only and hash-chained."""
