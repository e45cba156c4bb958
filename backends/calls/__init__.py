"""What every metered call to a service shares: budget, rate limits, retries, the answer store, the guard."""
