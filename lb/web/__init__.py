"""What browsers and scripts see on the main port, on top of the questions that `jobs.Jobs` answers.

Addresses, the query grammar and the layouts are pure; `site` alone knows connections. Nothing here knows storage.
"""
