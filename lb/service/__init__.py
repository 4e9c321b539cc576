"""What both daemons share: options and their file, endpoints, bounds on connections, readiness."""
