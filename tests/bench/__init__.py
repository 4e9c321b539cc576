"""The frame of the benchmarks: their numbers must mean what the table says."""
