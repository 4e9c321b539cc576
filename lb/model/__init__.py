"""The data model of L&B: identifiers, events, sequence codes, job status, errors.

Nothing here knows sockets, files or Twisted; everything else builds on it.
"""
