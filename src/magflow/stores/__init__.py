"""Stores: the embedded SQLite store, JobStore construction, typed queries."""
