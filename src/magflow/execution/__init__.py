"""Where a Flow runs: local workers on a durable queue."""
