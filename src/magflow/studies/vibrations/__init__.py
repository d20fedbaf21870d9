"""Phonons of one crystal on one potential, as files."""
