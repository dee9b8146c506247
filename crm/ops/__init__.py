"""Running the system: diagnostics, metrics, health checks."""
