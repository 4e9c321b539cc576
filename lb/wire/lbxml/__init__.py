"""The XML documents of the query protocol: requests, answers, job states, events (spec: wire-query.md §§4 to 7).

Pure functions between bytes and the values of `lb.model`. Documents are written byte for byte as the C programs
write them; nothing outside the bounds of `tree.Limits` is ever built from what a peer sent.
"""
