"""The daemons as processes, killed and started again, looked at from outside."""
