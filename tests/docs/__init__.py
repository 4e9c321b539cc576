"""Documents agree with the code that they speak of."""
