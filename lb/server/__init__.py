"""The bookkeeping server: collects events, keeps job states, answers questions about them."""
