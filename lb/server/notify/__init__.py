"""Notifications: who asked to be told of which changes, what they are told, and how it reaches them."""
