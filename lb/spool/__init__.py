"""Durable store-and-forward queues: one journal of segments for each destination, one writer thread for all of them.

The room stores bytes under a destination's name and gives them back in order, at least once; it never looks into them.
"""
