"""The manual and shell completion, made of the tables that the programs themselves read their options from."""
