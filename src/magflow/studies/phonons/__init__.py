"""Potentials held against recorded phonons of crystals: highest frequency, entropy, free energy, heat capacity."""
