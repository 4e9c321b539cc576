"""Perspective Broker: L&B for programs on Twisted, as remote objects over TLS."""
