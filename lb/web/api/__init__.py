"""The JSON API below `/api/v1/`: jobs, events in and out, statistics, and the document that describes it all.

Everything is asked in the name of the peer of the TLS connection; nothing here decides who may see what (P7).
"""
