"""Logging and Bookkeeping: collects the events of jobs, works out their states, tells who asks and who subscribed."""

__version__ = "0.1.0"
