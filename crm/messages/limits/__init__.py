"""What slows or stops sending: pacing, switches, copy guard, circuit breakers, quiet hours."""
