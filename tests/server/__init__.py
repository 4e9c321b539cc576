"""The server: taking in, storing, answering."""
