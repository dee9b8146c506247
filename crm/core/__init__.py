"""What every feature stands on, and what knows no feature: settings, database, queue, clock, errors, limits."""
