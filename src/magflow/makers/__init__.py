"""jobflow Makers and task documents: the loop as a DAG."""
