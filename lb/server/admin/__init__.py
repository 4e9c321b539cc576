"""What administrators have a running server do: purge, dump, load, index, statistics, retention."""
