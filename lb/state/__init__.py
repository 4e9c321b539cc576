"""The fold: events of a job, in any order, to its status. Knows no sockets and no storage."""
