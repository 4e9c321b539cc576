"""Storage of jobs and events behind one interface; knows nothing of wire formats."""
