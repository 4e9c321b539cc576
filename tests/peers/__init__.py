"""Real programs that tests talk to: private brokers, databases and browsers, never the machine's own."""
