"""Messages out to brokers and in from them: sessions of three drivers behind one interface, and what keeps them up.

Nothing here knows what a message says, nor anything of jobs and events.
"""
