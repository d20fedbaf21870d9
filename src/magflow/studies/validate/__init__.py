"""What potentials are good for: properties of structures, held against DFT, experiment and each other."""
