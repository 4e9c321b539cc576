"""Events per second, latencies, CPU and memory of whole paths, over TLS, durable, taken where a path ends.

A row is a function of a `site.Site` that prepares what it needs, does its work within ``with site.measuring() as
measured:`` and returns ``measured``, to which it appends one latency an item (`load` has the ways of sending).
To add one, put a `frame.Row` with its name, its daemons and its mark into the ``ROWS`` of the module of its group, or
of a new module that `__main__` lists.
"""
