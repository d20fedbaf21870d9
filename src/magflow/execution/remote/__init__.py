"""jobflow-remote, for sites whose compute nodes cannot reach the database."""
