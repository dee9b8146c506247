"""The ledger: messages, batches, delivery state, pacing."""
