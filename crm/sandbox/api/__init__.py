"""SendGrid's HTTP API as the sandbox answers it."""
