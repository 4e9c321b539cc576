"""Clients of L&B: log events, register jobs, ask for states and events, replay recorded streams.

`session.open_session` puts the parts together; `blocking.Client` offers the same to programs without a reactor.
Nothing here knows how the servers work inside.
"""
