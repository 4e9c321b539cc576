"""Perspective Broker: over TLS on loopback, and byte by byte."""
