"""Events per second and latencies of whole paths, over TLS, durable, as a peer sees them."""
