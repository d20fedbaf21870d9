"""Potentials on several label sets of the same frames: what each set cost, and how well each potential meets it."""
