"""One machine: a durable queue in the campaign's own file, and worker processes."""
