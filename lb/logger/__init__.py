"""The logger: takes events from producers, keeps them on stable storage, forwards them to the servers of their jobs.

It never answers success before an event is stored, and it knows nothing of job states.
"""
