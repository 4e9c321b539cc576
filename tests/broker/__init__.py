"""Sessions with real brokers, and what keeps them up."""
