"""Frames brought to rest on potentials: moments alone, or moments, atoms and cell together."""
