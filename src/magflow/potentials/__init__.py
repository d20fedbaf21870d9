"""Potential families, one package or file each, and the ensemble of their members."""
