"""What slows or stops sending: pacing, switches, circuit breakers, quiet hours."""
